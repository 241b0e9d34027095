//! Stores that are no pipeline's any more: of those that were deleted, and in directories that were spilt to before.
//!
//! ```text
//! DATA_DIR/spill-directories                    where else there were stores: JSON, a list of directories
//! SPILL_DIR/logmill-spill-CLUSTER/NAME/         a store outside of the data directory
//! ```
//!
//! A directory that is spilt to may be somebody's who has other things in it, and several brokers may share it. So nothing is
//! ever touched there but what lies in the one directory that has this cluster's id in its name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use logmill_storage::disk::{Disk, replace_file};

use super::super::snapshots::SnapshotFiles;
use super::directory::{SpillSettings, inside, own_directory};

/// The list of directories.
const DIRECTORIES: &str = "spill-directories";

/// Removes what is left over, at a start, before any pipeline runs; what cannot be removed is tried again at the next one.
/// From here on the directory that is spilt to is known to later starts.
pub(in crate::pipelines) fn remove_left_over(settings: &SpillSettings, is_known: impl Fn(&str) -> bool) {
    let warn = |path: &Path, error: &dyn std::fmt::Display| {
        tracing::warn!(path = %path.display(), %error, "what was spilt there before stays");
    };
    let list = settings.data_dir.join(DIRECTORIES);
    let before = match read_list(&*settings.disk, &list) {
        Ok(directories) => directories,
        Err(error) => return warn(&list, &error),
    };
    let current = settings.directory.as_deref().filter(|_| settings.is_on).map(absolute);
    let mut left: BTreeSet<PathBuf> = before.clone();
    left.extend(current.clone());
    left.retain(|directory| {
        let is_current = Some(directory) == current.as_ref();
        let removed = match is_current {
            true => remove_unknown(settings, directory, &is_known),
            false => remove_own(settings, directory),
        };
        removed.inspect_err(|error| warn(directory, error)).is_err() || is_current
    });
    if left != before
        && let Err(error) = write_list(&*settings.disk, &list, &left)
    {
        warn(&list, &error);
    }
    if let Err((path, error)) = remove_inside(settings) {
        warn(&path, &error);
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read_list(disk: &dyn Disk, path: &Path) -> io::Result<BTreeSet<PathBuf>> {
    if !disk.exists(path)? {
        return Ok(BTreeSet::new());
    }
    let file = disk.open(path, logmill_storage::disk::OpenOptions::READ)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn write_list(disk: &dyn Disk, path: &Path, directories: &BTreeSet<PathBuf>) -> io::Result<()> {
    replace_file(disk, path, &serde_json::to_vec(directories)?)
}

/// Removes all stores of this broker's in a directory that is not spilt to any more. One that is not there is an error: it
/// may be on a disk that is.
fn remove_own(settings: &SpillSettings, directory: &Path) -> io::Result<()> {
    let disk = &*settings.disk;
    if !disk.exists(directory)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the directory is not there"));
    }
    remove(disk, &own_directory(directory, &settings.cluster), "no pipeline spills there any more")
}

/// Removes the stores of pipelines that are gone, where the others are.
fn remove_unknown(
    settings: &SpillSettings,
    directory: &Path,
    is_known: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let (disk, own) = (&*settings.disk, own_directory(directory, &settings.cluster));
    if !disk.exists(&own)? {
        return Ok(());
    }
    let gone = disk.read_dir(&own)?.into_iter().filter(|entry| entry.is_dir && !is_known(&entry.name));
    gone.into_iter().try_for_each(|entry| remove(disk, &own.join(entry.name), "its pipeline is gone"))
}

/// Removes the stores in the data directory, when state goes somewhere else or nowhere.
fn remove_inside(settings: &SpillSettings) -> Result<(), (PathBuf, io::Error)> {
    if settings.is_on && settings.directory.is_none() {
        return Ok(());
    }
    let found = SnapshotFiles::pipelines(&*settings.disk, &settings.data_dir);
    let names = found.map_err(|error| (settings.data_dir.clone(), io::Error::other(error.to_string())))?;
    for name in names {
        let path = inside(&settings.data_dir, &name);
        let removed = remove(&*settings.disk, &path, "no pipeline spills there any more");
        removed.map_err(|error| (path, error))?;
    }
    Ok(())
}

fn remove(disk: &dyn Disk, path: &Path, why: &str) -> io::Result<()> {
    if disk.exists(path)? {
        disk.remove_dir_all(path)?;
        tracing::info!(path = %path.display(), why, "removed what was spilt");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use logmill_storage::RealDisk;
    use tempfile::TempDir;

    use super::super::SpillDirectory;
    use super::*;

    /// The data directory, two directories to spill to, and what somebody else has in each of these.
    struct Place(TempDir);

    impl Place {
        fn new() -> Place {
            let place = Place(TempDir::new().unwrap());
            fs::create_dir(place.path("data")).unwrap();
            for directory in ["one", "two"] {
                fs::create_dir_all(place.path(directory).join("p")).unwrap();
                fs::write(place.path(directory).join("p").join("letter"), "mine").unwrap();
            }
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn settings(&self, directory: Option<&str>) -> SpillSettings {
            SpillSettings {
                disk: Arc::new(RealDisk),
                is_on: true,
                directory: directory.map(|name| self.path(name)),
                data_dir: self.path("data"),
                cluster: "abc".to_owned(),
            }
        }

        /// A start of a broker that has these pipelines, each of which spills.
        fn started(&self, settings: &SpillSettings, pipelines: &[&str]) {
            remove_left_over(settings, |name| pipelines.contains(&name));
            for name in pipelines {
                drop(SpillDirectory::new(settings, name).open(1 << 20).unwrap());
            }
        }

        fn check(&self) {
            for directory in ["one", "two"] {
                let letter = self.path(directory).join("p").join("letter");
                assert_eq!(fs::read_to_string(letter).unwrap(), "mine");
            }
        }
    }

    fn is_there(settings: &SpillSettings, name: &str) -> bool {
        SpillDirectory::new(settings, name).exists().unwrap()
    }

    #[test]
    fn stores_do_not_stay_where_nothing_is_spilt_to_any_more() {
        let place = Place::new();
        let [inside, one, two] = [None, Some("one"), Some("two")].map(|directory| place.settings(directory));
        let all = [&inside, &one, &two];
        for now in [&inside, &one, &two, &one, &inside, &two, &inside] {
            place.started(now, &["p", "q"]);
            for other in all {
                assert_eq!(is_there(other, "p"), std::ptr::eq(other, now), "{:?}", other.directory);
            }
        }
        // Nothing is spilt at all.
        place.started(&two, &["p"]);
        remove_left_over(&SpillSettings { is_on: false, ..two.clone() }, |_| true);
        assert!(!all.iter().any(|settings| is_there(settings, "p")));
        place.check();
    }

    #[test]
    fn stores_of_pipelines_that_are_gone_do_not_stay() {
        let place = Place::new();
        let one = place.settings(Some("one"));
        place.started(&one, &["p", "q"]);
        remove_left_over(&one, |name| name == "q");
        assert!(!is_there(&one, "p") && is_there(&one, "q"));
        place.check();
    }

    /// Neither what a pipeline is called after, nor what another broker has spilt.
    #[test]
    fn what_is_not_ours_is_left_alone() {
        let place = Place::new();
        let one = place.settings(Some("one"));
        let other =
            SpillSettings { cluster: "other".to_owned(), data_dir: place.path("other"), ..one.clone() };
        fs::create_dir(place.path("other")).unwrap();
        place.started(&other, &["p"]);
        place.started(&one, &["p"]);
        SpillDirectory::new(&one, "p").remove().unwrap();
        place.started(&place.settings(None), &["p"]);
        assert!(is_there(&other, "p") && !is_there(&one, "p"));
        place.check();
    }

    /// A disk that is not there at a start: what is on it is removed when it is back.
    #[test]
    fn a_directory_that_is_not_there_is_not_forgotten() {
        let place = Place::new();
        let one = place.settings(Some("one"));
        place.started(&one, &["p"]);
        fs::rename(place.path("one"), place.path("elsewhere")).unwrap();
        place.started(&place.settings(None), &["p"]);
        fs::rename(place.path("elsewhere"), place.path("one")).unwrap();
        assert!(is_there(&one, "p"));
        place.started(&place.settings(None), &["p"]);
        assert!(!is_there(&one, "p"));
        place.check();
    }
}
