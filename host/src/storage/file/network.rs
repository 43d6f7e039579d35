//! Which file systems lie on another machine. There a lock may be kept by this machine alone, or by
//! nobody, and a stat may come from a cache.

use super::folder::Folder;

/// The kind of network file system that a directory lies on. None: a local one, or it cannot be
/// told.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn name_at(folder: &Folder) -> Option<&'static str> {
    // The magic number is 32 bits wide, however wide and signed the field is.
    rustix::fs::fstatfs(folder).ok().and_then(|found| name_of(found.f_type as u32))
}

/// Elsewhere the kind is not looked at: macOS and the BSDs do lock over NFS, through lockd.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn name_at(_folder: &Folder) -> Option<&'static str> {
    None
}

#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
fn name_of(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Some("SMB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nfs and smb are network file systems and a local directory is not.
    #[test]
    fn nfs_and_smb_are_network_file_systems() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!([0xFF53_4D42, 0xFE53_4D42, 0x517B].map(name_of), [Some("SMB"); 3]);
        assert_eq!(name_of(0xEF53), None);
        assert_eq!(name_at(&super::super::folder::Spot::at(&std::env::temp_dir().join("any")).folder), None);
    }
}
