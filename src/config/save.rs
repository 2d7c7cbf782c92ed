//! A file gets another content whole or not at all: it is written beside it, synced, and renamed into its place.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file's next content, complete beside it; gone if it is dropped.
#[derive(Debug)]
pub struct Saved {
    file: PathBuf,
    beside: PathBuf,
}

impl Saved {
    /// Writes the content of a file that is there, or is not there yet; a link is followed. Mode and owner are those of
    /// the file. Blocks.
    pub fn beside(file: &Path, text: &str) -> io::Result<Saved> {
        let file = match fs::canonicalize(file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
            Err(error) => return Err(error),
        };
        let mut name = OsString::from(".");
        name.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(format!(".{}.new", std::process::id()));
        let saved = Saved { beside: file.with_file_name(name), file };
        let mut options = OpenOptions::new();
        // Nobody else reads it before it has the mode of the file; one that a crash left behind is taken away first.
        options.write(true).create_new(true).mode(0o600);
        let mut beside = match options.open(&saved.beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&saved.beside)?;
                options.open(&saved.beside)?
            }
            opened => opened?,
        };
        if let Ok(before) = fs::metadata(&saved.file) {
            let ours = beside.metadata()?;
            if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
                fchown(&beside, Some(before.uid()), Some(before.gid()))?;
            }
            beside.set_permissions(before.permissions())?;
        }
        beside.write_all(text.as_bytes())?;
        beside.sync_all()?;
        Ok(saved)
    }

    /// Puts it in the file's place. Blocks.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.beside, &self.file)?;
        // The file has its new content whatever comes of this, which is about a loss of power.
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // After a commit there is none.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("srs-shard-save-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        folder
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = folder("mode");
        let file = folder.join("a.toml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.join("link.toml");
        symlink("a.toml", &link).unwrap();
        let saved = Saved::beside(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old", "not yet");
        saved.commit().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link is one still");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let folder = folder("dropped");
        let file = folder.join("a.toml");
        drop(Saved::beside(&file, "new").unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        // As after a crash of a process of the same number.
        std::mem::forget(Saved::beside(&file, "half").unwrap());
        Saved::beside(&file, "whole").unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        assert!(Saved::beside(&folder.join("none/a.toml"), "x").is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
