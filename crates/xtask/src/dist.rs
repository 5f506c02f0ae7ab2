//! Updates a folder without touching files that are right already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// Makes `target` hold exactly the files of `source`. Returns whether anything changed.
///
/// A file that is right keeps its time stamp, so that crates which embed it are not compiled again.
pub(crate) fn sync(source: &Path, target: &Path) -> Result<bool> {
    let mut changed = false;
    fs::create_dir_all(target).with_context(|| format!("cannot create the folder {}", target.display()))?;
    let wanted = files(source)?;
    for (relative, path) in files(target)? {
        if !wanted.contains_key(&relative) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            changed = true;
        }
    }
    for (relative, from) in &wanted {
        let to = target.join(relative);
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        if fs::read(&to).is_ok_and(|present| present == content) {
            continue;
        }
        copy(from, &to)?;
        changed = true;
    }
    Ok(changed)
}

/// Copies a file, and creates the folder that it goes to.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create the folder {}", parent.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn content(folder: &TempDir) -> Vec<(PathBuf, String)> {
        let files = files(folder.path()).unwrap().into_iter();
        files.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn the_target_becomes_the_source() {
        let source = folder(&[("a", "new"), ("icons/b", "same"), ("icons/c", "added")]);
        let target = folder(&[("a", "old"), ("icons/b", "same"), ("old/d", "removed")]);
        assert!(sync(source.path(), target.path()).unwrap());
        assert_eq!(content(&target), content(&source));
        assert!(!sync(source.path(), target.path()).unwrap());
    }

    #[test]
    fn a_file_that_is_right_is_not_written_again() {
        let source = folder(&[("a", "same"), ("b", "new")]);
        let target = folder(&[("a", "same"), ("b", "old")]);
        let open = |name: &str| fs::File::options().write(true).open(target.path().join(name)).unwrap();
        for name in ["a", "b"] {
            open(name).set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        sync(source.path(), target.path()).unwrap();
        let is_old =
            |name| fs::metadata(target.path().join(name)).unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH;
        assert!(is_old("a"));
        assert!(!is_old("b"));
    }

    #[test]
    fn a_missing_source_leaves_the_target_alone() {
        let target = folder(&[("a", "old")]);
        assert!(sync(&target.path().join("missing"), target.path()).is_err());
        assert_eq!(content(&target), [(PathBuf::from("a"), "old".to_owned())]);
    }
}
