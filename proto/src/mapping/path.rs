//! Where in a payload something stands: a JSON pointer (RFC 6901), `/params/switch:0/output`, which
//! counts from the payload's outermost object, or a bare name, which is a member of the reading's
//! own object.

/// A place in a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    pub(crate) keys: Vec<Box<str>>,
    /// A bare name.
    pub(crate) is_own: bool,
}

/// What is wrong with a pointer, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PathError {
    pub at: usize,
    pub what: String,
}

impl Path {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let Some(inside) = text.strip_prefix('/') else { return Self::bare(text) };
        let mut keys = Vec::new();
        let mut at = 1;
        for key in inside.split('/') {
            keys.push(unescape(key).map_err(|error| PathError { at: at + error.at, ..error })?);
            at += key.len() + 1;
        }
        Ok(Self { keys, is_own: false })
    }

    /// The whole payload.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A bare name: a member of the reading's own object.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    fn bare(name: &str) -> Result<Self, PathError> {
        let wrong = |at, what: String| Err(PathError { at, what });
        if name.is_empty() {
            return wrong(0, "empty; write a key of the payload or a pointer like `/a/b`".into());
        }
        if name.starts_with('$') {
            let meant = name.trim_start_matches(['$', '.']).replace('.', "/");
            return wrong(
                0,
                format!("this is a JSON pointer, not JSONPath; did you mean `/{meant}`?"),
            );
        }
        if let Some(at) = name.find('/') {
            return wrong(at, format!("a pointer begins with a slash; did you mean `/{name}`?"));
        }
        Ok(Self { keys: vec![name.into()], is_own: true })
    }
}

/// As the pointer is written.
impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let ([key], true) = (self.keys.as_slice(), self.is_own) {
            return f.write_str(key);
        }
        self.keys
            .iter()
            .try_for_each(|key| write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(key: &str) -> Result<Box<str>, PathError> {
    let mut parts = key.split('~');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    let mut at = whole.len();
    for part in parts {
        let rest = match part.split_at_checked(1) {
            Some(("0", rest)) => {
                whole.push('~');
                rest
            }
            Some(("1", rest)) => {
                whole.push('/');
                rest
            }
            _ => return Err(PathError { at, what: "`~` is written `~0` in a pointer".into() }),
        };
        whole.push_str(rest);
        at += part.len() + 1;
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        Path::parse(text).unwrap().keys.into_iter().map(Into::into).collect()
    }

    #[test]
    fn pointers_and_bare_names_are_read() {
        assert_eq!(keys("/params/switch:0/output"), ["params", "switch:0", "output"]);
        assert_eq!(keys("/a~1b/m~0n"), ["a/b", "m~n"]);
        assert_eq!(keys("/"), [""], "RFC 6901: the member whose name is empty");
        assert_eq!(keys("ts"), ["ts"]);
        assert!(Path::parse("ts").unwrap().is_own() && !Path::parse("/ts").unwrap().is_own());
        assert!(Path::default().is_empty());
        for text in ["/a~1b/m~0n", "ts", "/ts"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_pointer_is_told_what_was_meant() {
        for (text, at, what) in [
            ("", 0, "empty; write a key of the payload or a pointer like `/a/b`"),
            ("a/b", 1, "a pointer begins with a slash; did you mean `/a/b`?"),
            ("$.a.b", 0, "this is a JSON pointer, not JSONPath; did you mean `/a/b`?"),
            ("/a/b~2", 4, "`~` is written `~0` in a pointer"),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert_eq!((error.at, error.what.as_str()), (at, what), "{text}");
        }
    }
}
