//! Reads a fault-injecting database of another process back, by its admin port.

use std::io;

use super::{Row, lines};
use crate::faulty::row_from_json;

/// `url`: of the admin port, `http://host:port`.
pub async fn read(url: &str, mut each: impl FnMut(Row)) -> io::Result<()> {
    let mut lines = lines::get(&format!("{}/points", url.trim_end_matches('/')), None).await?;
    while let Some(line) = lines.next().await? {
        let row = str::from_utf8(&line).ok().and_then(row_from_json);
        each(row.ok_or_else(|| io::Error::other("a line that is not a point"))?);
    }
    Ok(())
}
