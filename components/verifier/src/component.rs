//! The component's outside: `check` as `wit/verifier.wit` has it.

use bindings::exports::sealwire::verifier::check;

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
        envelope: Vec<u8>,
        proof: String,
        bundle: Vec<u8>,
        vkey: String,
    ) -> Vec<check::Step> {
        let steps = crate::verify_leaf(&envelope, &proof, &bundle, &vkey);
        steps
            .into_iter()
            .map(|step| check::Step {
                name: step.name.to_owned(),
                detail: step.detail,
                passed: step.passed,
            })
            .collect()
    }
}
