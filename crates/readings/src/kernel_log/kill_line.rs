//! The line that names a victim, in all its forms from Linux 3.10 to 6.19.
//!
//! `Killed process PID (NAME) total-vm:NkB, anon-rss:NkB, file-rss:NkB[, shmem-rss:NkB][, UID:N pgtables:NkB
//! oom_score_adj:N]`; el7 puts `, UID N,` after the name, and 2.6.32 before it. The name is a stranger's and may imitate any of this, so what
//! follows it is found from the right: the kernel's part comes last.

use super::text::{kilobytes, process_id, rsplit_once, split_once, user_id};
use super::victim::OomScope;
use crate::Bytes;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KillLine<'a> {
    /// What the words before `Killed process` tell; before Linux 5.1 there are none.
    pub(crate) scope: Option<OomScope>,
    pub(crate) pid: u32,
    pub(crate) name: &'a [u8],
    pub(crate) uid: Option<u32>,
    pub(crate) sizes: Sizes,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) total_vm: Option<Bytes>,
    pub(crate) anon_rss: Option<Bytes>,
    pub(crate) file_rss: Option<Bytes>,
    pub(crate) shmem_rss: Option<Bytes>,
    pub(crate) pgtables: Option<Bytes>,
    pub(crate) oom_score_adj: Option<i16>,
}

impl<'a> KillLine<'a> {
    /// `rest` is what follows `Killed process `.
    pub(crate) fn parse(scope: Option<OomScope>, rest: &'a [u8]) -> Option<Self> {
        let (who, sizes) = rsplit_once(rest, b"total-vm:")?;
        let (who, uid_after_name) = match who.strip_suffix(b") ") {
            Some(who) => (who, None),
            None => {
                let (who, uid) = rsplit_once(who.strip_suffix(b", ")?, b"), UID ")?;
                (who, Some(user_id(uid)?))
            }
        };
        let (pid, name) = split_once(who, b" (")?;
        let (pid, uid_before_name) = match split_once(pid, b", UID ") {
            Some((pid, uid)) => (pid, Some(user_id(uid.strip_suffix(b",")?)?)),
            None => (pid, None),
        };
        let mut fields =
            sizes.trim_ascii_end().split(|&byte| byte == b' ').map(|field| field.strip_suffix(b",").unwrap_or(field));
        let total_vm = Some(kilobytes(fields.next()?)?);
        let mut line = KillLine {
            scope,
            pid: process_id(pid)?,
            name,
            uid: uid_after_name.or(uid_before_name),
            sizes: Sizes { total_vm, ..Sizes::default() },
        };
        let mut fields = fields.peekable();
        while let Some(field) = fields.next() {
            // A number without a unit that ends the line may have lost digits; the kernel always has more behind the UID.
            if fields.peek().is_some() || !field.starts_with(b"UID:") {
                line.read_field(field);
            }
        }
        Some(line)
    }

    fn read_field(&mut self, field: &[u8]) {
        match split_once(field, b":") {
            Some((b"anon-rss", value)) => self.sizes.anon_rss = kilobytes(value),
            Some((b"file-rss", value)) => self.sizes.file_rss = kilobytes(value),
            Some((b"shmem-rss", value)) => self.sizes.shmem_rss = kilobytes(value),
            Some((b"pgtables", value)) => self.sizes.pgtables = kilobytes(value),
            Some((b"UID", value)) => self.uid = user_id(value),
            Some((b"oom_score_adj", value)) => {
                self.sizes.oom_score_adj = std::str::from_utf8(value).ok().and_then(|adj| adj.parse().ok());
            }
            _ => {}
        }
    }
}
