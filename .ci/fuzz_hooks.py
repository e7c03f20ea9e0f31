"""What Schemathesis is not to try: what never reaches a function here. The tests of the system send it."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Neither a body that is no UTF-8 nor a header that is no ASCII."""
    return is_utf8(case.body) and all(str(value).isascii() for value in (case.headers or {}).values())


def is_utf8(body):
    try:
        return not isinstance(body, bytes) or body.decode() is not None
    except UnicodeDecodeError:
        return False
