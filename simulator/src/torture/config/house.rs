//! `[journal]`, `[dead_letters]`, `[control]`, `[log]`, `[tags]`: where things lie, and how much.

use toml::{Table, Value};

use super::{Places, Unreadable, quantity, set, table, text};

/// What the gateway takes where the configuration says nothing.
pub(super) const JOURNAL_DIR: &str = "/var/lib/tidegate/journal";
pub(in super::super) const CONTROL: &str = "control.sock";

const MIB: u64 = 1024 * 1024;
/// The least that the gateway takes.
const JOURNAL_BYTES_MIN: u64 = 16 * MIB;

pub(super) fn replace(
    root: &mut Table,
    places: &Places,
    remarks: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let journal = table(root, "journal")?;
    set(journal, "dir", text(&places.dir.join("journal"))?);
    bound(journal, "journal.bytes_max", places.room / 2, remarks);
    let dead_letters = table(root, "dead_letters")?;
    set(dead_letters, "dir", text(&places.dir.join("dead-letters"))?);
    bound(dead_letters, "dead_letters.bytes_max", places.room / 8, remarks);
    set(table(root, "control")?, "socket", text(&places.dir.join(CONTROL))?);
    // A log of everything would take more of the disk than the run itself.
    set(table(root, "log")?, "filter", "info");
    if table(root, "tags")?.remove("device").is_some() {
        remarks.push("[tags]: `device` left out, each simulated device is told by it".to_owned());
    }
    Ok(())
}

/// No more than the disk can bear beside what else lies on it.
fn bound(table: &mut Table, name: &str, room: u64, remarks: &mut Vec<String>) {
    let (_, key) = name.rsplit_once('.').unwrap_or(("", name));
    let asked = table.get(key).and_then(Value::as_str).and_then(quantity::bytes);
    let most = (room / MIB * MIB).max(JOURNAL_BYTES_MIN);
    if asked.is_some_and(|asked| asked > most) {
        let most = format!("{}MiB", most / MIB);
        remarks.push(format!("{name}: {most}, more would not fit here"));
        set(table, key, most);
    }
}
