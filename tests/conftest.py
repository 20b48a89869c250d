"""Programs that tests start get the defaults of signals, however the tests were started.

`nohup`, and `&` in a script, leave signals ignored, and whatever is started inherits that; a
signal that has a handler is at its default in a new program.
"""

import signal

for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda number, frame: None)
