import signal
import socket
import time

from node.relay.forwarders.loop import Loop


def test_timers_come_in_order_and_a_wait_without_end_is_ended_for_them() -> None:
    loop = Loop()
    called: list[str] = []
    began = loop.now

    def last() -> None:
        called.append("second")
        loop.stop()

    loop.call_at(began + 0.02, last)
    loop.call_at(began + 0.01, lambda: called.append("first"))
    loop.run()
    assert called == ["first", "second"]
    assert 0.02 <= loop.now - began < 5


def test_a_timer_that_comes_before_the_alarm_that_is_set_has_it_set_anew() -> None:
    loop = Loop()
    called: list[str] = []
    began = loop.now
    one, other = socket.socketpair()
    with one, other:
        other.send(b"x")

        def ready() -> None:
            one.recv(1)
            loop.call_at(loop.now + 0.01, early)

        def early() -> None:
            called.append("early")
            loop.stop()

        loop.add(one.fileno(), ready)
        loop.call_at(began + 60, lambda: called.append("late"))
        loop.run()
    assert called == ["early"]
    assert time.monotonic() - began < 30


def test_a_cancelled_timer_never_comes_and_is_forgotten() -> None:
    loop = Loop()
    called: list[int] = []
    timers = [loop.call_at(loop.now + 1000 + n, lambda: called.append(1)) for n in range(100)]
    soon = [loop.call_at(loop.now, lambda: called.append(2)) for _ in range(10)]
    for timer in (*timers, *soon):
        loop.cancel(timer)
    assert len(loop._timers) < 60
    loop.call_at(loop.now + 0.01, loop.stop)
    loop.run()
    assert called == []


def test_it_leaves_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGALRM)
    loop = Loop()
    loop.call_at(loop.now + 0.001, loop.stop)
    loop.call_at(loop.now + 60, lambda: None)
    loop.run()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert loop._handlers == {}
