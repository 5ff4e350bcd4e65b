//! The component's boundary: implements `check` of `wit/verifier.wit`.

use bindings::exports::sealwire::verifier::check;

use crate::{
    follow_keys::{KeyEvent, follow_keys},
    key::Key,
    verify_leaf::verify_leaf,
};

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/verifier.wit", world: "verifier" });

    export!(Verifier with_types_in self);

    use super::Verifier;
}

struct Verifier;

impl check::Guest for Verifier {
    fn verify_leaf(
        leaf: u64,
        envelope: Vec<u8>,
        proof: String,
        bundle: Vec<u8>,
        check::Key { leaf: named_at, vkey }: check::Key,
    ) -> Vec<check::Step> {
        let key = Key { leaf: named_at, vkey };
        let steps = verify_leaf(leaf, &envelope, &proof, &bundle, &key);
        steps
            .into_iter()
            .map(|step| check::Step {
                name: step.name.to_owned(),
                detail: step.detail,
                passed: step.passed,
            })
            .collect()
    }

    fn follow_keys(events: Vec<check::KeyEvent>) -> Result<Vec<check::Key>, String> {
        let events: Vec<_> = events
            .into_iter()
            .map(|check::KeyEvent { leaf, envelope, proof }| KeyEvent { leaf, envelope, proof })
            .collect();
        let keys = follow_keys(&events)?;
        Ok(keys.into_iter().map(|Key { leaf, vkey }| check::Key { leaf, vkey }).collect())
    }
}
