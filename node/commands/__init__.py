"""The subcommands, one module each; imported only when asked for, so that each starts fast."""
