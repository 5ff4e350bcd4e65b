//! New secrets, and the files for them.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use access::sensors::{Alias, CredentialName, Key, Reporting, Sensor, Topics};
use anyhow::{Context as _, Result};
use data_encoding::BASE32_DNSSEC;
use model::{SensorId, Subject, Timestamp};
use nats::nkey::{Kind, Seed};
use qrcode::{QrCode, render};
use serde::{Deserialize, Serialize};

/// Random bytes of a password. With 160 random bits nobody can guess it, however fast its hash is.
const PASSWORD_BYTES: usize = 20;
/// Least size of a QR code as SVG, in pixels.
const QR_PIXELS_MIN: u32 = 240;

/// What a device shows.
pub(super) struct Secrets {
    seed: Seed,
    password: String,
}

impl Secrets {
    pub(super) fn random() -> Self {
        let chance: [u8; PASSWORD_BYTES] = rand::random();
        Self {
            seed: Seed::from_bytes(Kind::User, &rand::random()),
            password: BASE32_DNSSEC.encode(&chance),
        }
    }

    /// What the site keeps of them.
    pub(super) fn key(&self, now: Timestamp) -> Key {
        Key::new(self.seed.public(), &self.password, now)
    }
}

/// A credential with its secrets.
pub(super) struct Made {
    pub(super) name: CredentialName,
    /// The sensors; none for a rotation, which does not change them.
    pub(super) sensors: Vec<Sensor>,
    /// What its device uses that reports by itself.
    pub(super) reporting: Option<Reporting>,
    pub(super) secrets: Secrets,
}

/// The content of a credential's file: all that a device needs.
#[derive(Deserialize, Serialize)]
pub(crate) struct Content {
    pub(crate) name: CredentialName,
    pub(crate) nkey_seed: String,
    mqtt_user: CredentialName,
    pub(crate) mqtt_password: String,
    mqtt_client_id: CredentialName,
    receipt_topic: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sensors: Vec<OfSensor>,
    /// Where a device reports by itself. Subjects of NATS, as those of sensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reporting: Option<Reporting>,
}

/// What a sensor's heartbeats carry. Topics are subjects of NATS; an MQTT client writes `/` for
/// `.`.
#[derive(Deserialize, Serialize)]
pub(crate) struct OfSensor {
    pub(crate) alias: Alias,
    pub(crate) id: SensorId,
    pub(crate) heartbeat_topic: Subject,
    pub(crate) poll_topic: Subject,
    pub(crate) read_topic: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disconnect_topic: Option<Subject>,
}

impl From<Sensor> for OfSensor {
    fn from(Sensor { alias, id, topics }: Sensor) -> Self {
        let Topics { heartbeat, poll, read, disconnect } = topics;
        Self {
            alias,
            id,
            heartbeat_topic: heartbeat,
            poll_topic: poll,
            read_topic: read,
            disconnect_topic: disconnect,
        }
    }
}

impl Made {
    fn content(&self) -> String {
        let Self { name, sensors, reporting, secrets } = self;
        let content = Content {
            name: name.clone(),
            nkey_seed: secrets.seed.secret(),
            mqtt_user: name.clone(),
            mqtt_password: secrets.password.clone(),
            mqtt_client_id: name.clone(),
            receipt_topic: format!("{name}.receipt"),
            sensors: sensors.iter().cloned().map(OfSensor::from).collect(),
            reporting: reporting.clone(),
        };
        serde_json::to_string_pretty(&content).expect("it has only text keys")
    }

    /// What a phone reads: user and password for MQTT, in a form that a person can paste.
    fn qr(&self) -> Result<QrCode> {
        let (name, password) = (&self.name, &self.secrets.password);
        QrCode::new(format!("mqtt://{name}:{password}@")).context("cannot make a QR code")
    }

    pub(super) fn qr_for_terminal(&self) -> Result<String> {
        let code = self.qr()?.render::<render::unicode::Dense1x2>().build();
        Ok(format!("{}\n{code}", self.name))
    }
}

/// Writes the files of new credentials, and returns their paths. Replaces no file. When this
/// returns, no power cut can take a secret from its credential.
pub(super) fn write(folder: &Path, made: &[Made], qr: bool) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot write credentials to {}", folder.display());
    durable::create_folder(folder).with_context(cannot)?;
    let mut written = Vec::new();
    let outcome = write_all(folder, made, qr, &mut written).and_then(|()| {
        durable::sync_written_to(folder)?;
        Ok(())
    });
    if let Err(error) = outcome {
        for file in written {
            // The secret of no credential: nothing is lost if it stays.
            let _gone = fs::remove_file(file);
        }
        return Err(error.context(cannot()));
    }
    Ok(written)
}

fn write_all(folder: &Path, made: &[Made], qr: bool, written: &mut Vec<PathBuf>) -> Result<()> {
    let mut create = |name: String, content: &str| -> Result<()> {
        let path = folder.join(name);
        let mut options = durable::private_file();
        let opened = options.write(true).create_new(true).open(&path);
        let mut file = opened.with_context(|| format!("cannot create {}", path.display()))?;
        written.push(path);
        file.write_all(content.as_bytes())?;
        Ok(())
    };
    for credential in made {
        let name = &credential.name;
        create(format!("{name}.json"), &format!("{}\n", credential.content()))?;
        create(format!("{name}.nk"), &format!("{}\n", credential.secrets.seed.secret()))?;
        if qr {
            let code = credential.qr()?;
            let mut svg = code.render::<render::svg::Color<'_>>();
            let svg = svg.min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN).build();
            create(format!("{name}.svg"), &svg)?;
        }
    }
    Ok(())
}

/// An id for a sensor that has none yet: a random UUID of version 4.
pub(super) fn random_id() -> SensorId {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    SensorId::from_bytes(bytes)
}
