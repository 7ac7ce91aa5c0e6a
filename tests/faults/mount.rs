//! A small file system of its own on a loop device: it can be filled, and its power can be cut.
//!
//! The cut is the GOINGDOWN ioctl with the flag "do not flush the log": from then on nothing
//! reaches the device, whatever was written and not synced is gone, and the file system is mounted
//! again as after a real one. A power cut ends the machine and its disk in one instant, so the process
//! is stopped in the same breath. Left running it lost its last group in 2 of 5 runs: it seems that an
//! `fdatasync` in flight then reports success for extents whose conversion the cut has just prevented
//! (ext4 of Linux 6; inferred, not traced), which nobody is there to see in a real cut. A signal stops one
//! thread, which stops the others when it is given a core: so the cut waits until each has stopped, or is
//! in a call to the disk that it will not come back from. (On a loaded machine one of 100 cuts lost a
//! reading before it did.)
//! What it does not show: a device that lies about its own cache.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

use super::tools::{has, run};
use crate::support::{missing, wait_for};

const CUT: &str = "\
import fcntl, os, signal, struct, sys, time
disk = os.open(sys.argv[1], os.O_RDONLY)
process = sys.argv[2]
tasks = f'/proc/{process}/task'
def state(task):
    return open(f'{tasks}/{task}/stat').read().rsplit(')', 1)[1].split()[0]
def is_stopped():
    return state(process) == 'T' and all(state(task) in 'TD' for task in os.listdir(tasks))
os.kill(int(process), signal.SIGSTOP)
deadline = time.monotonic() + 20
while not is_stopped():
    assert time.monotonic() < deadline, 'it does not stop'
    time.sleep(0.0002)
fcntl.ioctl(disk, 0x8004587D, struct.pack('I', 2))
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    /// Of 300 MiB at least.
    Xfs,
}

impl FileSystem {
    /// What makes it, the Debian package of that, and its arguments before the image.
    fn maker(self) -> (&'static str, &'static str, &'static [&'static str]) {
        const AT_ONCE: &str = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        match self {
            Self::Ext4 => ("mkfs.ext4", "e2fsprogs", &["-q", "-F", "-m", "0", "-E", AT_ONCE]),
            Self::Xfs => ("mkfs.xfs", "xfsprogs", &["-q", "-K"]),
        }
    }
}

/// Unmounted on drop, also when the test fails.
#[derive(Debug)]
pub struct LoopMount {
    dir: TempDir,
    is_mounted: bool,
}

impl LoopMount {
    /// An ext4. `None`: this machine cannot, and it was said.
    pub fn new(bytes: u64) -> Option<Self> {
        Self::of(FileSystem::Ext4, bytes)
    }

    pub fn of(file_system: FileSystem, bytes: u64) -> Option<Self> {
        let (maker, package, arguments) = file_system.maker();
        if !has(maker, package) || !has("mount", "mount") || !has("python3", "python3") {
            return None;
        }
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), is_mounted: false };
        let image = mount.image();
        File::create(&image).unwrap().set_len(bytes).unwrap();
        run(maker, &[arguments, &[image.to_str().unwrap()]].concat());
        fs::create_dir(mount.path()).unwrap();
        match mount.mount() {
            Ok(()) => Some(mount),
            Err(why) => {
                missing("a loop mount", &format!("needs root and a loop device: {}", why.trim()));
                None
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// A line of `[journal]`: it lies here.
    pub fn journal_dir(&self) -> String {
        format!("dir = \"{}/journal\"\n", self.path().display())
    }

    /// The process stops, every write and sync fails from now on, and what was not synced never was.
    pub fn cut_power(&self, process: u32) {
        run("python3", &["-c", CUT, self.path().to_str().unwrap(), &process.to_string()]);
    }

    /// Power is back. Nothing may have a file open here.
    pub fn restore_power(&mut self) {
        let at = self.path();
        wait_for("unmounting", Duration::from_secs(20), || quiet("umount", &[&at]));
        self.is_mounted = false;
        self.mount().unwrap();
    }

    /// Takes all the space that is left, as another program would; give it back by dropping it.
    pub fn fill(&self) -> Filler {
        let path = self.path().join("filler");
        let file = File::create(&path).unwrap();
        for step in [1024 * 1024, 64 * 1024, 4096] {
            let mut length = file.metadata().unwrap().len();
            while fallocate(&file, FallocateFlags::empty(), length, step).is_ok() {
                length += step;
            }
        }
        assert_eq!(self.free_bytes(), 0);
        Filler(path)
    }

    pub fn free_bytes(&self) -> u64 {
        let here = statvfs(self.path()).unwrap();
        here.f_bavail * here.f_frsize
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&mut self) -> Result<(), String> {
        quiet("mount", &[Path::new("-o"), Path::new("loop"), &self.image(), &self.path()])?;
        self.is_mounted = true;
        Ok(())
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: whoever still has a file open here is killed by another guard.
            drop(quiet("umount", &[Path::new("-l"), &self.path()]));
        }
    }
}

/// Space that another program holds.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn quiet(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
