"""Requests that Schemathesis does not send, because they never reach a function here. The tests of the system send them."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Skips bodies that are not UTF-8 and headers that are not ASCII."""
    return is_utf8(case.body) and all(str(value).isascii() for value in (case.headers or {}).values())


def is_utf8(body):
    try:
        return not isinstance(body, bytes) or body.decode() is not None
    except UnicodeDecodeError:
        return False
