"""A certificate authority for tests, made with the openssl command."""

import os
import subprocess
import tempfile


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """Issues certificates into a folder that lasts as long as `scratch` does."""

    def __init__(self, scratch, name="authority"):
        self.folder = tempfile.mkdtemp(prefix=name, dir=scratch)
        self.ca = os.path.join(self.folder, "ca.crt")
        self._key = os.path.join(self.folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1"):
        """A certificate for both ends of a connection; returns the paths (certificate, key)."""
        path = os.path.join(self.folder, name)
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 f"/CN={name}", "-keyout", path + ".key", "-out", path + ".csr")
        with open(path + ".ext", "w", encoding="utf-8") as extensions:
            extensions.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("x509", "-req", "-in", path + ".csr", "-CA", self.ca, "-CAkey", self._key,
                 "-CAcreateserial", "-days", "2", "-extfile", path + ".ext", "-out", path + ".crt")
        return path + ".crt", path + ".key"
