# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens (RFC 7519), HS256, made here with the standard library, so that the server's own code is not asked about itself."""
import base64
import hashlib
import hmac
import json
import time

SECRET = "an-end-to-end-secret-of-more-than-32-bytes"


def _base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def make_token(user, secret=SECRET, expires_in=3600, algorithm="HS256", **claims):
    now = int(time.time())
    header = {"alg": algorithm, "typ": "JWT"}
    payload = {"sub": user, "iat": now, "exp": now + expires_in, **claims}
    signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64url(signature)}"
