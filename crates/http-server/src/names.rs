//! Names by which programs on a machine reach the machine itself.

/// The names that every machine has for itself.
pub const MACHINE_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Whether a Host header is one of the machine's own names, with or without a port. Pangea's API
/// builds URLs from the header.
pub fn is_this_machine(host: &str) -> bool {
    MACHINE_NAMES.iter().any(|name| is_under(host, name))
}

/// Whether a Host header is this name, with or without a port.
pub fn is_under(host: &str, name: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    host.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}
