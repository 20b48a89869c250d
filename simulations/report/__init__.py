"""What came of one or two runs, as one page that needs nothing else.

`plots` draws with matplotlib, `page` puts it together.
"""

from simulations.report.page import report_page

__all__ = ["report_page"]
