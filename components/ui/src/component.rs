//! The component's boundary: implements `files` of `sealwire:assets`.

use self::bindings::exports::sealwire::assets::files::{File, Guest};
use crate::files::{self, file};

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/assets.wit", "../../wit/ui.wit"],
        world: "sealwire:ui/ui",
        generate_all,
    });
    export!(Component);
    use super::Component;
}

struct Component;

impl Guest for Component {
    fn get(path: String) -> Option<File> {
        let files::File { body, media_type, digest, immutable } = file(&path)?;
        Some(File { body, media_type, digest, immutable })
    }
}
