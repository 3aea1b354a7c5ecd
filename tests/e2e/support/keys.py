# SPDX-License-Identifier: Apache-2.0
"""Keys, tokens and certificates, made with python3-cryptography and the openssl command, so that the server's own code is not asked about itself."""
import base64
import hashlib
import hmac
import json
import subprocess
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(x, size=None):
    return base64url(x.to_bytes(size or (x.bit_length() + 7) // 8, "big"))


def pack(header, claims):
    return ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def claims_of(user, expires_in=3600, **more):
    now = int(time.time())
    return {"sub": user, "iat": now, "exp": now + expires_in} | more


class Key:
    """A private key of one of the algorithms RS256, ES256 and EdDSA, with an id."""

    def __init__(self, algorithm, kid=None):
        self.algorithm, self.kid = algorithm, kid
        self.private = {"RS256": lambda: rsa.generate_private_key(65537, 2048), "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                        "EdDSA": ed25519.Ed25519PrivateKey.generate}[algorithm]()

    def pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def jwk(self, **more):
        public = self.private.public_key()
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            out = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif self.algorithm == "ES256":
            numbers = public.public_numbers()
            out = {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}
        else:
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            out = {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}
        if self.kid:
            out["kid"] = self.kid
        return out | {"use": "sig", "alg": self.algorithm} | more

    def sign(self, text):
        if self.algorithm == "RS256":
            return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if self.algorithm == "ES256":
            r, s = utils.decode_dss_signature(self.private.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(text)

    def token(self, user, expires_in=3600, header=None, **claims):
        head = {"alg": self.algorithm, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {}) | (header or {})
        text = pack(head, claims_of(user, expires_in, **claims))
        return f"{text}.{base64url(self.sign(text.encode()))}"


def hmac_token(user, secret, algorithm="HS256", header=None, expires_in=3600, **claims):
    """`secret` as bytes, whatever they are."""
    text = pack({"alg": algorithm, "typ": "JWT"} | (header or {}), claims_of(user, expires_in, **claims))
    kind = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return f"{text}.{base64url(hmac.new(secret, text.encode(), kind).digest())}"


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder, name="authority"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key, "-out", self.certificate,
                     "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 insists

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    def issue(self, name, alternative="IP:127.0.0.1"):
        """@returns the files of a certificate and its key."""
        key, request, certificate, extensions = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "ext"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text(f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-out", certificate, "-days", "2",
                     "-extfile", extensions)
        return certificate, key
