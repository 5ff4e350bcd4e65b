//! An edge site: the shells that drive the pure crates, each a task with one owner.
//!
//! The way of a reading, file by file: [`polling`] asks sensors and hears them, [`sealing`] appends what the poller saw, [`pipeline`] has `sensor-reader`
//! judge what was sealed and appends what follows, [`indexing`] projects the log for [`queries`], and [`log_http`] shows it to anyone. What an
//! operator may order of the log is [`operator`]'s, and [`cosigning`] has witnesses sign its checkpoints. [`up`] starts all of it on one machine, with
//! both engines, and stops it in order.
//!
//! Beside a site, running or not: [`backup`] copies its folder, [`restore`] makes a folder of a copy, [`doctor`] says what is wrong with one.

pub mod backup;
pub mod doctor;
pub mod log_alone;
pub mod operator;
pub mod restore;
pub mod retention;
pub mod up;

mod data_dir;
mod live;
mod log_http;
mod order_socket;
mod page_http;
mod pangea_http;
mod ports;
mod run_file;
mod site_log;
mod site_time;
mod staging;
mod start_files;
mod stoppable_disk;
mod workloads;

pub use data_dir::{DataDir, DataDirError};
pub use order_socket::{GiveOrderError, give_order};
pub use page_http::{InvalidPageHost, PageHost};
pub use pangea_http::{PangeaConfigError, SavedError};
pub use run_file::RunFile;
pub use site_log::{SiteLog, SiteLogError};
pub use staging::StagingError;
pub use up::{UpError, run};
