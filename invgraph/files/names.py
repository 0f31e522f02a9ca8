"""Names of files and folders that can be written anywhere."""


def require_text(name: str, remedy: str) -> None:
    """Refuse a name that is no UTF-8 before it spoils a page or a file at the end of a run.

    Raises:
        ValueError: it is none; ``remedy`` says what to do.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!a} is a name in another encoding than UTF-8; {remedy}.") from None
