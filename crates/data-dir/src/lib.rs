//! The data directory of a site, and the tools that need no running site.
//!
//! - [`DataDir`] is the directory. It checks the owner and the version, and locks it against other
//!   processes. [`folder`] names the files in it.
//! - [`backup`] copies the directory, [`restore`] makes a directory from a copy, and [`doctor`]
//!   reports what is wrong with one.
//! - [`retention`] says how long envelopes are kept; [`RunFile`] gives the addresses of a running
//!   site.

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
