//! Kills and the ledger's state on disk: one redb database, `kills.redb`, in the state directory.
//!
//! It decides nothing: changes come from the ledger in `judgement`, and are applied each as a whole or not at all, durable
//! when the call returns. A file that can't be read is never deleted nor overwritten: it is moved aside under a name that
//! says why (`kills.redb.corrupt-1`, `.newer-1`, `.older-1`), and a fresh one begun.
//!
//! | file | what |
//! |---|---|
//! | `store` | the one that writes: opening, applying, forgetting what is too old or too much |
//! | `reader` | pages of kills, oldest first, beside the one that writes |
//! | `read_only` | looking into the file without changing it, also where an agent was killed in the middle |
//! | `place` | the file by its name: opening, locking, moving aside, beginning afresh |
//! | `tables`, `encoding` | the form of what is stored |

mod backend;
mod directory;
mod encoding;
mod error;
mod place;
mod read_only;
mod reader;
mod store;
mod tables;

pub use directory::default_directory;
pub use encoding::{DecodeError, decode_kill, encode_kill};
pub use error::StoreError;
pub use place::{MovedAside, WhyMoved};
pub use read_only::open_read_only;
pub use reader::{Page, Reader};
pub use store::{Opened, Retention, Store};
