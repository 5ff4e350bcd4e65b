"""Fetches umqtt.simple of micropython-lib into the file that is named.

pip finds the package and cannot take it, because packages for MicroPython have no build system. So
pip only says where the package is.
"""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

PACKAGE = "micropython-umqtt.simple"
RELEASE = f"{PACKAGE}-1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
TIMEOUT_S = 60

with tempfile.TemporaryDirectory() as folder:
    words = ["--verbose", "--no-deps", "--no-cache-dir", "--no-binary", ":all:", "--dest", folder]
    pip = [sys.executable, "-m", "pip", "download", *words, RELEASE.replace("-1.", "==1.")]
    said = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
found = re.search(rf"https?://\S+/{re.escape(RELEASE)}\.tar\.gz", said)
if found is None:
    sys.exit(f"pip does not say where {RELEASE} is:\n{said}")
with urllib.request.urlopen(found[0], timeout=TIMEOUT_S) as answer:
    archive = answer.read()
if hashlib.sha256(archive).hexdigest() != SHA256:
    sys.exit(f"{RELEASE} has another SHA-256 than it had: {hashlib.sha256(archive).hexdigest()}")
with tarfile.open(fileobj=io.BytesIO(archive)) as files, open(sys.argv[1], "wb") as simple:
    simple.write(files.extractfile(f"{RELEASE}/umqtt/simple.py").read())
