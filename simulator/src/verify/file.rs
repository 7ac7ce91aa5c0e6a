//! What the `file` output wrote: a directory of files of line protocol.
//!
//! Equal points in several lines are one row, as they would be in a database: a reading that was
//! delivered again is not a duplicate, for it overwrites itself. An unfinished last line of a file
//! is left out; any other broken line is an error.

use std::{fs, io, path::Path};

use super::Row;
use crate::faulty::{line, store::Store};

/// Reads every regular file of `dir`, in the order of their names; sub-directories are left out.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    let mut store = Store::new(usize::MAX);
    for path in paths {
        let body = fs::read(&path)?;
        read(&body, &mut store).map_err(|why| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        })?;
    }
    Ok(store.rows())
}

fn read(body: &[u8], store: &mut Store) -> Result<(), String> {
    let finished = body.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let body = body.get(..finished).unwrap_or_default();
    for (bytes, point) in line::points(body, 1) {
        let shown = || String::from_utf8_lossy(bytes).into_owned();
        let point = point.map_err(|why| format!("{why}: {}", shown()))?;
        let time = point.time.ok_or_else(|| format!("no timestamp: {}", shown()))?;
        store.apply(&point, time, 0).map_err(|refusal| format!("{refusal}: {}", shown()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_file_once_and_forgives_an_unfinished_end() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("1.line", "m,device=a seq=1 10\nm,device=a seq=2 20\n");
        write("2.line", "m,device=a seq=2 20\nm,device=b seq=1 10\nm,device=b se");
        fs::create_dir(dir.path().join("dead")).unwrap();
        let mut rows = rows(dir.path()).unwrap();
        rows.sort_by(|a, b| (&a.device, a.time).cmp(&(&b.device, b.time)));
        let found: Vec<_> = rows.iter().map(|r| (r.device.as_str(), r.time)).collect();
        assert_eq!(found, [("a", 10), ("a", 20), ("b", 10)]);

        write("3.line", "m,device=a seq=1\n");
        assert!(super::rows(dir.path()).unwrap_err().to_string().contains("no timestamp"));
    }
}
