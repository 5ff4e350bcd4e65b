//! A socket, with or without TLS. Reads and writes that cannot go on at once say so, and
//! [`Wire::ready`] waits until they can.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use bytes::BufMut;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

/// Plain text that is taken from TLS at once, in bytes: a record.
const CHUNK_BYTES: usize = 16 << 10;

/// What a client believes about servers that speak TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

/// The certificates of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthorities {
    /// The text is not PEM.
    #[error("the certificates are not in PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// A certificate is not one of an authority.
    #[error("a certificate is not understood")]
    Certificate(#[source] rustls::Error),
    /// There is no certificate.
    #[error("there is no certificate")]
    Empty,
}

impl Tls {
    /// Believes servers whose certificates come from these authorities, in PEM.
    ///
    /// # Errors
    /// There is no certificate in the text, or one that cannot be used.
    pub fn of_authorities(pem: &[u8]) -> Result<Self, InvalidAuthorities> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(InvalidAuthorities::Pem)?;
            roots.add(certificate).map_err(InvalidAuthorities::Certificate)?;
        }
        if roots.is_empty() {
            return Err(InvalidAuthorities::Empty);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl From<Arc<ClientConfig>> for Tls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }
}

/// A connected socket.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// `None` without TLS. Boxed because it is large, and a plain socket small.
    session: Option<Box<ClientConnection>>,
}

impl Wire {
    /// A socket without TLS.
    #[must_use]
    pub const fn plain(stream: TcpStream) -> Self {
        Self { stream, session: None }
    }

    /// Goes over to TLS with the server of this name. What is written from now on is sent once the
    /// server has shown a certificate of that name.
    ///
    /// # Errors
    /// The text is neither a host name nor an address.
    pub fn secure(&mut self, tls: &Tls, server: &str) -> Result<(), InvalidDnsNameError> {
        let name = ServerName::try_from(server)?.to_owned();
        let session = ClientConnection::new(Arc::clone(&tls.0), name)
            .expect("the configuration and the name are valid");
        self.session = Some(Box::new(session));
        Ok(())
    }

    /// Whether the socket has not taken yet what was written.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// Waits until the socket can do what is wanted. Cancel-safe.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn ready(&self, wanted: Interest) -> io::Result<Ready> {
        let wanted = if self.wants_write() { wanted | Interest::WRITABLE } else { wanted };
        self.stream.ready(wanted).await
    }

    /// Reads what has arrived. Returns the number of bytes, and zero at the end.
    ///
    /// # Errors
    /// Nothing has arrived, or the socket failed, or the server is not believed.
    pub fn try_read(&mut self, into: &mut impl BufMut) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.stream.try_read_buf(into);
        };
        loop {
            // The end of the connection, without the end of TLS, is an end, too: the protocols have
            // lengths of their own, so nothing can be cut off unnoticed.
            if session.read_tls(&mut Socket(&self.stream))? == 0 {
                return Ok(0);
            }
            let state = session.process_new_packets();
            // What TLS has to say, such as why it does not believe the server, is said.
            let _later = session.write_tls(&mut Socket(&self.stream));
            let mut left = state.map_err(io::Error::other)?.plaintext_bytes_to_read();
            if left == 0 {
                continue;
            }
            let all = left;
            let mut chunk = [0; CHUNK_BYTES];
            while left > 0 {
                let bytes = session.reader().read(&mut chunk)?;
                into.put_slice(chunk.get(..bytes).unwrap_or_default());
                left -= bytes;
            }
            return Ok(all);
        }
    }

    /// Writes as much as is taken now. Returns the number of bytes.
    ///
    /// # Errors
    /// Nothing is taken now, or the socket failed.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        let Some(session) = &mut self.session else { return self.stream.try_write(bytes) };
        match session.writer().write(bytes)? {
            // What is written waits for the server to show its certificate, up to a limit.
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => match self.push() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(taken),
            },
        }
    }

    /// Sends what TLS has not sent yet.
    ///
    /// # Errors
    /// The socket takes nothing now, or it failed.
    pub fn push(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            while session.wants_write() {
                session.write_tls(&mut Socket(&self.stream))?;
            }
        }
        Ok(())
    }
}

/// A socket as TLS wants it.
struct Socket<'a>(&'a TcpStream);

impl io::Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
