"""An archive of images that speaks DICOMweb: a series is fetched, its segmentation stored."""

import logging
import os
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from brainseg.errors import InputError
from brainseg.predict.archive_address import PASSWORD, USER, check_address
from brainseg.predict.archive_errors import may_have_arrived, telling_archive
from brainseg.predict.archive_listing import (
    UID_OF_IMAGE,
    UID_OF_SERIES,
    Listed,
    read_listed,
    read_parts,
    read_text,
)
from brainseg.terminal import bar

TIMEOUT_S = (10, 60)
"""To connect, and to wait for data."""

UID = re.compile(r"[0-9]+(\.[0-9]+)+")

ATTEMPTS = 3
"""Of each request that only reads."""

logger = logging.getLogger(__name__)


class Archive:
    """An archive that is asked with DICOMweb: QIDO-RS, WADO-RS, STOW-RS.

    User and password are those in the environment; they are in no message. Certificates are
    verified; `REQUESTS_CA_BUNDLE` names those of a hospital's own authority.
    """

    def __init__(self, url: str) -> None:
        """Take an address such as `https://pacs.example.org/dicom-web`; nothing is sent yet.

        Raises:
            InputError: it is none, or a password would be sent in the clear.
        """
        if find_spec("dicomweb_client") is None:
            raise InputError(
                "An archive needs other packages: pip install 'brainseg-bench[dicom]'."
            )
        from dicomweb_client.api import DICOMwebClient
        from requests import Session
        from requests.auth import HTTPBasicAuth

        self.url = url.rstrip("/")
        secure, session = check_address(url), Session()
        if secure:  # nor may it lead to an address without encryption
            del session.adapters["http://"]
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        if user or password:
            session.auth = HTTPBasicAuth((user or "").encode(), (password or "").encode())
        self._reader = DICOMwebClient(self.url, session, timeout=TIMEOUT_S)
        self._reader.set_http_retry_params(max_attempts=ATTEMPTS, wait_exponential_multiplier=250)
        self._writer = DICOMwebClient(self.url, session, timeout=TIMEOUT_S)
        self._writer.set_http_retry_params(retry=False)

    def choose_series(self, study: str, series: str | None = None) -> Listed:
        """The series with a UID, or the one of a study that fits.

        Raises:
            InputError: the archive cannot be asked, has no such study or series, or several fit.
        """
        for uid in filter(None, [study, series]):
            if not UID.fullmatch(uid):
                raise InputError(f"{uid} is no UID. Expected numbers with dots between: 1.2.840.…")
        with telling_archive(self.url):
            listed = read_parts(partial(self._reader.search_for_series, study), UID_OF_SERIES)
            found = [read_listed(each) for each in listed]
        if not found:
            raise InputError(f"{self.url} has no study {study}, or this user may not see it.")
        chosen = [each for each in found if (each.uid == series if series else each.fits)]
        if len(chosen) == 1:
            return chosen[0]
        every = "\n".join(each.summary for each in found)
        if series:
            raise InputError(f"Study {study} has no series {series}. It has:\n{every}")
        what = f"{len(chosen)} series that fit" if chosen else "no series of MR slices"
        raise InputError(f"Study {study} has {what}. Choose one with --series UID:\n{every}")

    def fetch(self, study: str, series: Listed, folder: Path) -> None:
        """Fetch all images of a series into files of an empty folder.

        Raises:
            InputError: the archive broke off, or cannot give one of them.
        """
        with telling_archive(self.url):
            uids = self._list_images(study, series)
            if len(uids) < series.images:
                raise InputError(
                    f"{self.url} says that series {series.uid} has {series.images} images, but "
                    f"lists {len(uids)}. Try again; if that stays so, its administrator can tell."
                )
            for number, uid in enumerate(bar(uids, "Fetching images")):
                image = self._reader.retrieve_instance(study, series.uid, uid)
                image.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)

    def _list_images(self, study: str, series: Listed) -> list[str]:
        """The UIDs of a series' images."""
        search = partial(self._reader.search_for_instances, study, series.uid)
        found = read_parts(search, UID_OF_IMAGE, series.images)
        return [read_text(each, UID_OF_IMAGE) for each in found]

    def store(self, file: Path) -> str:
        """Store a DICOM file, once; returns its UID.

        Where the answer is lost, the archive is asked whether it has the file, and only where it
        says no, it is sent again.

        Raises:
            InputError: it was refused, or nobody knows whether it was stored.
        """
        from pydicom import dcmread

        image = dcmread(file)
        uid, study = str(image.SOPInstanceUID), str(image.StudyInstanceUID)
        kept = f"{file} is kept, but was not stored"
        try:
            answer = self._writer.store_instances([image], study)
        except Exception as error:
            if not may_have_arrived(error):
                with telling_archive(self.url, kept):
                    raise
            logger.warning("%s did not answer; it is asked whether it has the file.", self.url)
            if self._has(study, uid, f"{file} is kept; whether it was stored is not known"):
                return uid
            with telling_archive(self.url, kept):
                answer = self._writer.store_instances([image], study)
        stored = answer.get("ReferencedSOPSequence") or []
        if uid not in {str(each.ReferencedSOPInstanceUID) for each in stored}:
            failed = answer.get("FailedSOPSequence") or []
            why = f" (reason {failed[0].get('FailureReason')})" if failed else ""
            raise InputError(f"{kept}: {self.url} refused it{why}. The archive's log says more.")
        return uid

    def _has(self, study: str, uid: str, otherwise: str) -> bool:
        with telling_archive(self.url, otherwise):
            filters = {"SOPInstanceUID": uid}
            return bool(self._reader.search_for_instances(study, search_filters=filters))
