//! The files of this machine.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Timespec, Timestamps, UTIME_OMIT};

use super::{DirEntry, Disk, DiskFile, DiskLock, FileSystem, OpenOptions};

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        if options.direct
            && let Some(file) = direct::open(path, options)?
        {
            return Ok(Arc::new(RealFile { file, durable_writes: true }));
        }
        let file = std_options(options).open(path)?;
        Ok(Arc::new(RealFile { file, durable_writes: false }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        let metadata = fs::metadata(path)?;
        Ok(metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000))
    }

    fn set_modified(&self, path: &Path, ms: i64) -> io::Result<()> {
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let modified =
            Timespec { tv_sec: ms.div_euclid(1000), tv_nsec: (ms.rem_euclid(1000) * 1_000_000) as _ };
        let times = Timestamps { last_access: unchanged, last_modification: modified };
        Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::empty())?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn file_system(&self, directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        whole::open(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<Option<u64>> {
        let found = rustix::fs::statvfs(directory)?;
        // Where there is no bound, such as in a tmpfs that was given none, there is no size either.
        Ok((found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

/// The lock belongs to the open file description: closing it lets go.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: File,
    durable_writes: bool,
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        match slices {
            [one] => self.file.write_all_at(one, position),
            several => gather::write_all_at(&self.file, several, position),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn durable_writes(&self) -> bool {
        self.durable_writes
    }
}

fn std_options(options: OpenOptions) -> fs::OpenOptions {
    let mut std = fs::OpenOptions::new();
    std.read(true).write(options.write);
    if options.create_new {
        std.create_new(true);
    } else {
        std.create(options.create);
    }
    std
}

/// Writing several slices with one call.
#[cfg(target_os = "linux")]
mod gather {
    use std::fs::File;
    use std::io::{self, IoSlice};

    /// The kernel takes no more slices at once (`UIO_MAXIOV`).
    const MAX_SLICES: usize = 1024;

    pub(super) fn write_all_at(file: &File, slices: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
        for chunk in slices.chunks(MAX_SLICES) {
            let mut chunk = chunk.to_vec();
            let mut rest = &mut chunk[..];
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(file, rest, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        position += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod gather {
    use std::fs::File;
    use std::io::{self, IoSlice};
    use std::os::unix::fs::FileExt;

    pub(super) fn write_all_at(file: &File, slices: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
        for slice in slices {
            file.write_all_at(slice, position)?;
            position += slice.len() as u64;
        }
        Ok(())
    }
}

/// Flushing a whole file system.
#[cfg(target_os = "linux")]
mod whole {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use crate::disk::FileSystem;

    /// The first Linux whose `syncfs` tells of what failed on the way to the device.
    const TELLS_SINCE: (u32, u32) = (5, 8);
    /// ext4, XFS, Btrfs: file systems of which it is known that they tell. One above another (overlayfs, FUSE) may not.
    const KNOWN: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

    /// Open from before the writes that it flushes: a failure is told to whom was there.
    #[derive(Debug)]
    struct Whole(File);

    impl FileSystem for Whole {
        fn sync(&self) -> io::Result<()> {
            Ok(rustix::fs::syncfs(&self.0)?)
        }
    }

    pub(super) fn open(directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        let file = File::open(directory)?;
        let kind = rustix::fs::fstatfs(&file)?.f_type as u64;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let tells = KNOWN.contains(&(kind & 0xffff_ffff)) && version(&release) >= Some(TELLS_SINCE);
        Ok(tells.then(|| Box::new(Whole(file)) as Box<dyn FileSystem>))
    }

    fn version(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn releases() {
            assert_eq!(version("6.18.44-fc-v857"), Some((6, 18)));
            assert_eq!(version("5.10.0-8-amd64\n"), Some((5, 10)));
            assert_eq!(version(""), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod whole {
    use std::io;
    use std::path::Path;

    use crate::disk::FileSystem;

    pub(super) fn open(_directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        Ok(None)
    }
}

/// Direct and durable writes.
#[cfg(target_os = "linux")]
mod direct {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use rustix::fs::{AtFlags, OFlags, StatxFlags};

    use crate::disk::{BLOCK_BYTES, OpenOptions};

    /// `None` when this file system, or its block size, does not allow it.
    pub(super) fn open(path: &Path, options: OpenOptions) -> io::Result<Option<File>> {
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits() as i32;
        let file = match super::std_options(options).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                // The kernel may have made the file before it refused the flags; the plain open has to find it new.
                if options.create_new {
                    match std::fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if alignment_fits(&file) {
            return Ok(Some(file));
        }
        if options.create_new {
            std::fs::remove_file(path)?;
        }
        Ok(None)
    }

    /// The file system says which alignment it wants (Linux 6.1); where it does not say, 4096 bytes are enough.
    fn alignment_fits(file: &File) -> bool {
        let Ok(stat) = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
            return true;
        };
        let told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
        let fits = |alignment: u32| alignment != 0 && BLOCK_BYTES.is_multiple_of(alignment as usize);
        !told || (fits(stat.stx_dio_mem_align) && fits(stat.stx_dio_offset_align))
    }
}

#[cfg(not(target_os = "linux"))]
mod direct {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use crate::disk::OpenOptions;

    pub(super) fn open(_path: &Path, _options: OpenOptions) -> io::Result<Option<File>> {
        Ok(None)
    }
}
