//! What lies in a site's folder, and the tools that need no running site.
//!
//! - [`DataDir`] is the folder: whose it is, of which version, and that nobody else uses it.
//!   [`folder`] names what lies in it.
//! - [`backup`] copies the folder, [`restore`] makes a folder of a copy, [`doctor`] says what is
//!   wrong with one.
//! - [`retention`] is how long envelopes are kept; [`RunFile`] tells where a running site is found.

pub mod backup;
pub mod doctor;
pub mod folder;
pub mod restore;
pub mod retention;
pub mod run_file;
pub mod saved_searches;

mod stoppable_disk;

pub use folder::{DataDir, DataDirError};
pub use run_file::{Addresses, RunFile};
