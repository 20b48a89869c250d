"""A scenario at work: its world, who lives there, what is measured, and the runner.

`world` puts everything together, `runner` lets time pass, `results` holds what came of it.
"""
