//! The two programs: the library of each commit, with these benchmarks. Both are built in one place, a git worktree in the
//! target folder, one after the other. The names of symbols depend on the path, and what the compiler inlines, on the
//! names: the same source in two places differed by a third. The benchmarks are copied there, so both sides are measured
//! in the same way, whatever the harness of that commit was like. A program that was built before is used again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// The folder of these benchmarks.
const BENCH: &str = env!("CARGO_MANIFEST_DIR");
/// The name of the package, and of its program, in quotes as in the manifest.
const PACKAGE: &str = "name = \"tango-bench\"";
/// Its name in the worktree, so that it does not replace this program.
const PROGRAM: &str = "tango-bench-against";
/// The folders of the repository that a program is made of, beside the benchmarks.
const LIBRARY: &str = "crates/rust-tango";

/// A commit whose library is measured.
pub(super) struct Version {
    /// All digits of the commit.
    hash: String,
    /// The first digits, and the subject.
    pub(super) name: String,
    /// Whether the library has changes that are not committed.
    changed: bool,
}

impl Version {
    /// This commit, with its changes if they are asked for.
    pub(super) fn this(with_changes: bool) -> Result<Self, Failure> {
        let library = ["status", "--porcelain", "--", "../crates/rust-tango", "../Cargo.toml"];
        let changes = git(BENCH, &library)?;
        if !changes.is_empty() && !with_changes {
            let files: Vec<&str> = changes.lines().filter_map(|line| line.get(3..)).collect();
            return Err(Failure::other(format!(
                "the library has changes that are not committed ({}): commit them, or add --with-changes to compare \
                 them as they are",
                files.join(", ")
            )));
        }
        let this = Self::of("HEAD")?;
        if changes.is_empty() {
            return Ok(this);
        }
        Ok(Self { changed: true, name: format!("{}, with changes", this.name), ..this })
    }

    /// The commit that is compared with.
    pub(super) fn other(commit: &str) -> Result<Self, Failure> {
        Self::of(commit).map_err(|_| {
            Failure::usage(format!(
                "--against {commit}: no commit of this repository has that name (see git log)"
            ))
        })
    }

    fn of(commit: &str) -> Result<Self, Failure> {
        let reference = format!("{commit}^{{commit}}");
        let hash = git(BENCH, &["rev-parse", "--verify", "--quiet", "--end-of-options", &reference])?;
        let name = git(BENCH, &["log", "-1", "--format=%h %s", "--abbrev=12", &hash])?;
        Ok(Self { hash, name, changed: false })
    }

    /// Builds the program, unless it was built before, and returns where it is.
    pub(super) fn build(&self) -> Result<PathBuf, Failure> {
        let this = std::env::current_exe()?;
        let complaint = || Failure::other("this program lies in no target folder");
        let release = this.parent().ok_or_else(complaint)?;
        let target = release.parent().ok_or_else(complaint)?;
        let programs = target.join("against-programs");
        let program = programs.join(format!("{}-{:016x}", &self.hash, digest(Path::new(BENCH))?));
        if program.exists() && !self.changed {
            return Ok(program);
        }
        let worktree = target.join("against");
        self.check_out(&worktree)?;
        let bench = worktree.join("bench");
        copy_bench(&bench)
            .map_err(|error| Failure::other(format!("cannot write {}: {error}", bench.display())))?;
        eprintln!("building {} in {}", self.name, worktree.display());
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--bins", "--manifest-path"])
            .arg(bench.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .args(if cfg!(feature = "peers") { None } else { Some("--no-default-features") })
            .env("CARGO_INCREMENTAL", "0")
            .status()
            .map_err(|error| Failure::other(format!("cargo does not start: {error}")))?;
        if !built.success() {
            return Err(Failure::other(format!(
                "{} does not build with these benchmarks (the compiler's errors are above). They use the library as it \
                 is in this commit; compare with a commit whose API has not changed",
                self.name
            )));
        }
        fs::create_dir_all(&programs)?;
        fs::copy(release.join(PROGRAM), &program)?;
        Ok(program)
    }

    /// Makes the worktree, or moves it to this commit.
    fn check_out(&self, worktree: &Path) -> Result<(), Failure> {
        let path =
            worktree.to_str().ok_or_else(|| Failure::other("the name of the target folder is not UTF-8"))?;
        if worktree.join(".git").exists() {
            git(path, &["checkout", "--quiet", "--force", "--detach", &self.hash])?;
            git(path, &["clean", "--quiet", "-fd", "--", "crates"])?;
        } else {
            // A target folder that was removed with its worktree is still registered; hence twice.
            git(BENCH, &["worktree", "add", "--quiet", "--force", "--force", "--detach", path, &self.hash])?;
        }
        if self.changed {
            let (from, to) = (Path::new(BENCH).join("..").join(LIBRARY), worktree.join(LIBRARY));
            remove_others(&from, &to)?;
            copy(&from, &to)?;
            fs::copy(Path::new(BENCH).join("../Cargo.toml"), worktree.join("Cargo.toml"))?;
        }
        Ok(())
    }
}

/// A number for these benchmarks, so that programs with other ones are not used again.
fn digest(bench: &Path) -> std::io::Result<u64> {
    fn add(path: &Path, hasher: &mut DefaultHasher) -> std::io::Result<()> {
        if !path.is_dir() {
            path.hash(hasher);
            fs::read(path)?.hash(hasher);
            return Ok(());
        }
        let mut entries: Vec<_> = fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        entries.iter().try_for_each(|entry| add(entry, hasher))
    }
    let mut hasher = DefaultHasher::new();
    cfg!(feature = "peers").hash(&mut hasher);
    ["Cargo.toml", "Cargo.lock", "src"].iter().try_for_each(|name| add(&bench.join(name), &mut hasher))?;
    Ok(hasher.finish())
}

/// Replaces the benchmarks of the worktree by these, under the other name. Files that have not changed keep their time,
/// so that they are not compiled again.
fn copy_bench(to: &Path) -> std::io::Result<()> {
    let from = Path::new(BENCH);
    remove_others(&from.join("src"), &to.join("src"))?;
    for name in ["Cargo.toml", "Cargo.lock"] {
        let text = fs::read_to_string(from.join(name))?.replace(PACKAGE, &format!("name = \"{PROGRAM}\""));
        write_if_new(&to.join(name), text.as_bytes())?;
    }
    copy(&from.join("src"), &to.join("src"))
}

/// Removes what lies in `to` and not in `from`.
fn remove_others(from: &Path, to: &Path) -> std::io::Result<()> {
    let Ok(entries) = fs::read_dir(to) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let (source, place) = (from.join(entry.file_name()), entry.path());
        match (place.is_dir(), source.is_dir(), source.is_file()) {
            (true, true, _) => remove_others(&source, &place)?,
            (false, _, true) => {}
            (true, ..) => fs::remove_dir_all(place)?,
            (false, ..) => fs::remove_file(place)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place)?
        } else {
            write_if_new(&place, &fs::read(entry.path())?)?
        }
    }
    Ok(())
}

fn write_if_new(file: &Path, content: &[u8]) -> std::io::Result<()> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, content)
}

/// What git prints, or what it complains about.
fn git(folder: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(["-C", folder])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::other(format!("git does not start: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Failure::other(format!("git {}: {}", arguments.join(" "), complaint.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_these_benchmarks_under_another_name_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path();
        fs::create_dir_all(to.join("src/old")).expect("a folder");
        fs::write(to.join("src/old/file.rs"), "gone").expect("a file");
        copy_bench(to).expect("copied");
        assert!(!to.join("src/old").exists());
        assert!(to.join("src/peers/tango.rs").exists());
        for name in ["Cargo.toml", "Cargo.lock"] {
            let text = fs::read_to_string(to.join(name)).expect("it was written");
            assert!(text.contains("name = \"tango-bench-against\"") && !text.contains(PACKAGE), "{name}");
        }
    }
}
