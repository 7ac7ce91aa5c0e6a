//! The human part of an answer.

/// The `message` (2.x) or `error` (1.x, 3.x) of a JSON answer; else the body itself as text.
pub(super) fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        message: Option<String>,
        error: Option<String>,
    }
    match serde_json::from_slice::<Told>(body) {
        Ok(Told { message: Some(text), .. } | Told { error: Some(text), .. }) => text,
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

/// At most `bytes_max` bytes of it, and a sign where it was cut.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    match text.split_at_checked(end) {
        Some((kept, "")) => kept.to_owned(),
        Some((kept, _)) => format!("{kept}..."),
        None => String::new(),
    }
}
