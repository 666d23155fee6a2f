//! [`Machine`]: the files from which the facts are read. A test puts those of another machine below a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A machine, by its files.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

/// A filesystem in `/proc/self/mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) path: String,
    pub(super) kind: String,
    options: String,
}

impl Machine {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether it is the one that this process runs on, so that system calls may be asked, too.
    pub(super) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The content of a file, without white space at both ends. `None` if it cannot be read.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        let bytes = fs::read(self.path(file)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    /// The paths of the entries of a folder whose names end so, sorted. Empty if there is no such folder.
    pub(super) fn entries(&self, folder: &str, ending: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut paths: Vec<_> =
            names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect();
        paths.sort();
        paths
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
    }

    /// The value behind this name in a file of lines `name: value` or `name value`.
    pub(super) fn field(&self, file: &str, name: &str) -> Option<String> {
        let text = self.read(file)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim_start_matches(':').trim().to_owned())
    }

    /// The user of this process.
    pub(super) fn user(&self) -> Option<u32> {
        self.field("/proc/self/status", "Uid:")?.split_whitespace().nth(1)?.parse().ok()
    }

    /// The soft limit of this name, from `/proc/self/limits`. `u64::MAX`: there is none.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        let value = self.field("/proc/self/limits", name)?;
        match value.split_whitespace().next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// The filesystem that a path is on.
    pub(super) fn mount_of(&self, path: &Path) -> Option<Mount> {
        let text = self.read("/proc/self/mounts")?;
        let mounts = text.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let mut next = || words.next().map(|word| word.replace("\\040", " "));
            Some(Mount { path: next()?, kind: next()?, options: next()? })
        });
        // Of several at one place, the last one is seen.
        mounts.filter(|mount| path.starts_with(&mount.path)).max_by_key(|mount| mount.path.len())
    }

    /// The values of a file in the cgroup of this process and in all above it: in version 2 a file of the unified
    /// hierarchy, in version 1 one of a controller.
    pub(super) fn in_cgroups(&self, unified: &str, controller: &str, file: &str) -> Vec<(String, String)> {
        let text = self.read("/proc/self/cgroup").unwrap_or_default();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (words.next(), words.next()) else { continue };
            let (base, file) = if controllers.is_empty() {
                ("/sys/fs/cgroup".to_owned(), unified)
            } else if controllers.split(',').any(|one| one == controller) {
                (format!("/sys/fs/cgroup/{controllers}"), file)
            } else {
                continue;
            };
            for folder in Path::new(path).ancestors() {
                let folder = folder.display().to_string();
                let place = format!("{base}{}/{file}", folder.trim_end_matches('/'));
                if let Some(value) = self.read(&place) {
                    found.push((place, value));
                }
            }
        }
        found
    }
}

impl Mount {
    /// The value of an option, which is empty if it has none.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.split(',').find_map(|option| {
            let value = option.strip_prefix(name)?;
            if value.is_empty() { Some("") } else { value.strip_prefix('=') }
        })
    }

    /// The size of a tmpfs in bytes, as its options say.
    pub(super) fn size(&self) -> Option<u64> {
        let size = self.option("size")?;
        let (number, unit) = match size.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
            Some(number) => (number, size.to_ascii_lowercase().chars().last()),
            None => (size, None),
        };
        let shift = match unit {
            Some('k') => 10,
            Some('m') => 20,
            Some('g') => 30,
            _ => 0,
        };
        number.parse::<u64>().ok()?.checked_mul(1 << shift)
    }
}
