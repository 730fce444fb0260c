"""What to say where an archive does not answer, refuses, or breaks off."""

from collections.abc import Iterator
from contextlib import contextmanager

from requests import exceptions

from brainseg.errors import InputError, explain

STATUS = {
    401: "does not know this user and password, or wants them: set BRAINSEG_DICOMWEB_USER and "
    "BRAINSEG_DICOMWEB_PASSWORD",
    403: "does not allow this user to do it",
    404: "knows no such address, or no such study. The address must be the one of DICOMweb itself, "
    "such as https://pacs.example.org/dicom-web",
    413: "says that the file is too large",
    415: "does not take files of this kind",
}
"""Answer of an archive → what to say of it."""


@contextmanager
def telling_archive(url: str, what: str = "") -> Iterator[None]:
    """Turn what goes wrong in talking to an archive into an error in words.

    Args:
        url: of the archive.
        what: the consequence, to begin with.

    Raises:
        InputError: the block raised something; errors of this machine's files stay as they are.
    """
    try:
        yield
    except exceptions.RequestException as error:
        raise _in_words(url, what, error) from error
    except Exception as error:
        if explain(error) is not None:  # an InputError, or a full disk
            raise
        raise _in_words(url, what, error) from error


def may_have_arrived(error: Exception) -> bool:
    """Whether what was sent may have reached the archive, though no answer came back."""
    if (status := _status(error)) is not None:
        return status >= 500
    lost = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError)
    return isinstance(error, lost) and not isinstance(error, exceptions.SSLError)


def _in_words(url: str, what: str, error: Exception) -> InputError:
    beginning = f"{what}: " if what else ""
    return InputError(f"{beginning}{url} {_why(error)}.")


def _why(error: Exception) -> str:
    if (status := _status(error)) is not None:
        return STATUS.get(status, f"answered with an error ({status}). Its log says more")
    if isinstance(error, exceptions.SSLError):
        return (
            "has no certificate that can be verified. Set REQUESTS_CA_BUNDLE to the file of the "
            "authority that signed it"
        )
    if isinstance(error, exceptions.Timeout):
        return "did not answer in time. Try again later"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "broke off while it answered. Try again"
    if isinstance(error, exceptions.InvalidSchema):
        return "leads on to an address without encryption, which is refused"
    if isinstance(error, exceptions.ConnectionError):
        return "cannot be reached, or broke off. Check the address, and whether the archive runs"
    return (
        f"does not answer as DICOMweb does ({type(error).__name__}). The address must be the one "
        "of DICOMweb itself, such as https://pacs.example.org/dicom-web"
    )


def _status(error: Exception) -> int | None:
    """The status with which an archive answered, if it did."""
    attempt = getattr(error, "last_attempt", None)  # where each of some attempts was in vain
    response = attempt.value if attempt is not None else getattr(error, "response", None)
    return getattr(response, "status_code", None)
