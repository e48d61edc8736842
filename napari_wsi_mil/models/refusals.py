"""Why a download did not come: what the hub, the network and the disk raise, as one sentence."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import ModelNotHere

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB = "https://huggingface.co"


def endpoint() -> str | None:
    """Return the hub's address if HF_ENDPOINT names another one; huggingface_hub reads it only once, at import."""
    return os.environ.get("HF_ENDPOINT") or None


@contextlib.contextmanager
def explained(repo: str) -> Iterator[None]:
    """Turn what huggingface_hub and the disk raise about `repo` (owner/name) into ModelNotHere with one sentence."""
    from huggingface_hub import errors

    # The base of its own errors is that of its HTTP library, whichever this version uses.
    transport: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except (errors.HfHubHTTPError, errors.EntryNotFoundError) as error:
        raise ModelNotHere(_refusal(repo, error)) from error
    except (transport, ConnectionError, TimeoutError) as error:
        raise ModelNotHere(_unreachable(repo)) from error
    except OSError as error:
        if error.errno is None:  # those of HTTP libraries carry no number
            raise ModelNotHere(_unreachable(repo)) from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = f"the disk is full ({error.strerror})" if full else f"{error.strerror or error}"
        message = (
            f"{repo}: the download could not be written, {reason}; nothing was kept, free some space or set "
            "NAPARI_WSI_MIL_MODELS to another folder"
        )
        raise ModelNotHere(message) from error


def _unreachable(repo: str) -> str:
    return (
        f"{repo}: {endpoint() or HUB} cannot be reached, expected an answer; check network and proxy, or give a "
        "folder that holds the model"
    )


def _refusal(repo: str, error: Exception) -> str:
    """Return the sentence for an answer of the hub; gated comes before unknown, which it is a kind of."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        return _unreachable(repo)
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{endpoint() or HUB}/{repo}"
    gated = isinstance(error, errors.GatedRepoError)
    if gated and status == 401:
        why = f"access needs an account, expected a token; accept the terms at {page}, then `hf auth login` or HF_TOKEN"
    elif gated or status == 403:
        why = f"access is not granted to your account (yet), expected the authors' consent; ask at {page} and wait"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"no such revision there, expected one it has; see {page}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        why = f"no such model on the hub, or a private one and no token that may read it; check the name at {page}"
    elif isinstance(error, errors.EntryNotFoundError):
        why = (
            "expected config.json, preprocessor_config.json and model.safetensors or pytorch_model.bin, one is missing;"
            " take a model of transformers"
        )
    else:
        got = status or type(error).__name__
        why = f"the hub answered with an error ({got}), expected the files; try again later"
    return f"{repo}: {why}"
