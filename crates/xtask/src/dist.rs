//! Bringing a folder up to date without touching what is already right.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What [`sync`] had to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) written: usize,
    pub(crate) removed: usize,
}

impl Changes {
    pub(crate) fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// All files below a folder, by their path relative to it.
pub(crate) fn files(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let dir = folder.join(&relative);
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read the folder {}", dir.display()))? {
            let entry = entry.with_context(|| format!("cannot read the folder {}", dir.display()))?;
            let relative = relative.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(relative);
            } else {
                found.insert(relative, entry.path());
            }
        }
    }
    Ok(found)
}

/// Makes `target` hold exactly the files of `source`.
///
/// A file whose content is right keeps its time stamp, so that nothing which embeds it is built again. The others are
/// written in full under another name before the first one is replaced: a full disk leaves the old files in place.
pub(crate) fn sync(source: &Path, target: &Path) -> Result<Changes> {
    fs::create_dir_all(target).with_context(|| format!("cannot make the folder {}", target.display()))?;
    let wanted = files(source)?;
    let mut ready = Vec::new();
    for (relative, from) in &wanted {
        let to = target.join(relative);
        let content = read(from)?;
        if is_file_with(&to, &content)? {
            continue;
        }
        let partial = partial_name(&to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        fs::write(&partial, &content).with_context(|| format!("cannot write {}", partial.display()))?;
        ready.push((partial, to));
    }
    for (partial, to) in &ready {
        fs::rename(partial, to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    let removed = remove_others(target, &wanted)?;
    Ok(Changes { written: ready.len(), removed })
}

fn remove_others(target: &Path, wanted: &BTreeMap<PathBuf, PathBuf>) -> Result<usize> {
    let mut removed = 0;
    for (relative, path) in files(target)? {
        if wanted.contains_key(&relative) {
            continue;
        }
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        removed += 1;
        // Its folder goes with the last file; while others are left, the system refuses, rightly.
        for folder in relative.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            let _ = fs::remove_dir(target.join(folder));
        }
    }
    Ok(removed)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_file_with(path: &Path, content: &[u8]) -> Result<bool> {
    match fs::read(path) {
        Ok(present) => Ok(present == content),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Beside the file, so that renaming it stays within one file system.
fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// A new empty folder, removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with(self, files: &[(&str, &str)]) -> Self {
            for (name, content) in files {
                let path = self.0.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            self
        }

        fn content(&self) -> Vec<(String, String)> {
            let files = files(&self.0).unwrap().into_iter();
            files.map(|(name, path)| (name.display().to_string(), fs::read_to_string(path).unwrap())).collect()
        }

        /// Dates a file back, so that writing it again shows.
        fn age(&self, name: &str) {
            fs::File::options()
                .write(true)
                .open(self.0.join(name))
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
        }

        fn is_aged(&self, name: &str) -> bool {
            fs::metadata(self.0.join(name)).unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_target_becomes_the_source() {
        let source = Folder::new("becomes-source").with(&[("a", "new"), ("icons/b", "same"), ("icons/c", "added")]);
        let target = Folder::new("becomes-target").with(&[("a", "old"), ("icons/b", "same"), ("gone/deep/d", "x")]);
        let changes = sync(&source.0, &target.0).unwrap();
        assert_eq!(changes, Changes { written: 2, removed: 1 });
        assert_eq!(target.content(), source.content());
        assert!(!target.0.join("gone").exists());
    }

    #[test]
    fn a_file_that_is_right_is_not_written_again() {
        let source = Folder::new("keeps-source").with(&[("a", "same"), ("b", "new")]);
        let target = Folder::new("keeps-target").with(&[("a", "same"), ("b", "old")]);
        target.age("a");
        target.age("b");
        sync(&source.0, &target.0).unwrap();
        assert!(target.is_aged("a"));
        assert!(!target.is_aged("b"));
        assert!(sync(&source.0, &target.0).unwrap().none());
    }

    #[test]
    fn a_source_that_is_missing_leaves_the_target_alone() {
        let target = Folder::new("missing-target").with(&[("a", "old")]);
        assert!(sync(&target.0.join("nothing-here"), &target.0).is_err());
        assert_eq!(target.content(), [("a".to_owned(), "old".to_owned())]);
    }
}
