"""Which addresses of archives are taken: none on which a password could be read by others."""

import logging
import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from brainseg.errors import InputError

USER, PASSWORD = "BRAINSEG_DICOMWEB_USER", "BRAINSEG_DICOMWEB_PASSWORD"
"""Environment variables; on the command line others would read them."""

logger = logging.getLogger(__name__)


def check_address(url: str) -> bool:
    """Whether an address is encrypted.

    Raises:
        InputError: it is no address, holds a password, or a password would be sent in the clear.
    """
    if "@" in url:  # whatever else is wrong with it, it is not shown
        raise InputError(
            f"The address of the archive holds an @, as behind a user's name. Set {USER} and "
            f"{PASSWORD} instead: addresses are shown and kept."
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(
            f"{url} is no address of an archive. Expected one such as "
            "https://pacs.example.org/dicom-web"
        )
    if parts.scheme == "https" or _is_loopback(host):
        return parts.scheme == "https"
    if os.environ.get(PASSWORD):
        raise InputError(
            f"{url} is not encrypted: everybody on the way could read the password. Use an address "
            "that begins with https."
        )
    logger.warning("%s is not encrypted: everybody on the way can read the images.", url)
    return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
