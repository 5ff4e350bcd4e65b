"""Writes a certificate that ended yesterday, with its key: FOLDER HOST FILE.

FOLDER has `ca.pem` and `ca.key` of the authority that signs it.
"""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, host, file = sys.argv[1:]
authority = x509.load_pem_x509_certificate(pathlib.Path(folder, "ca.pem").read_bytes())
signer = serialization.load_pem_private_key(pathlib.Path(folder, "ca.key").read_bytes(), None)
key = ec.generate_private_key(ec.SECP256R1())
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)
address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
certificate = (
    x509.CertificateBuilder()
    .subject_name(x509.Name([]))
    .issuer_name(authority.subject)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - 9 * day)
    .not_valid_after(now - day)
    .add_extension(address, critical=True)
    .sign(signer, hashes.SHA256())
)
pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
# The site takes no key that others can read, and never half of a file.
whole = pathlib.Path(f"{file}.new")
whole.touch(mode=0o600)
whole.write_bytes(certificate.public_bytes(pem) + secret)
whole.replace(file)
