//! Where the state is kept when nobody says where.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// `/var/lib/reprieve` for root; for others `reprieve` below `xdg_state_home` (`$XDG_STATE_HOME`), else below
/// `.local/state` of `home` (`$HOME`), as the XDG Base Directory Specification 0.8 has it: a relative path counts as none.
/// `None` where neither is set.
pub fn default_directory(root: bool, xdg_state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/reprieve"));
    }
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let state_home = absolute(xdg_state_home).or_else(|| Some(absolute(home)?.join(".local/state")))?;
    Some(state_home.join("reprieve"))
}

/// Makes the directory, and those above it, for its owner only: command lines may hold secrets. One that is there already
/// is left as it is.
pub(crate) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_one_place_and_others_their_own() {
        let some = |text: &str| Some(OsString::from(text));
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(default_directory(true, some("/x"), some("/root")), path("/var/lib/reprieve"));
        assert_eq!(default_directory(false, some("/x"), some("/home/a")), path("/x/reprieve"));
        assert_eq!(default_directory(false, some("x"), some("/home/a")), path("/home/a/.local/state/reprieve"));
        assert_eq!(default_directory(false, None, some("/home/a")), path("/home/a/.local/state/reprieve"));
        assert_eq!(default_directory(false, some(""), None), None);
    }
}
