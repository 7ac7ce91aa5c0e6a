//! Answers as they were given by InfluxDB 1.6.7 and 2.7.12.

use super::*;

fn judged(status: u16, body: &str) -> Verdict {
    judge(status, None, body.as_bytes(), SystemTime::UNIX_EPOCH)
}

fn complaint_of(status: u16, body: &str) -> Complaint {
    match judged(status, body) {
        Verdict::Complaint(complaint) => complaint,
        other => panic!("{other:?}"),
    }
}

const CONFLICT: &str = "partial write: field type conflict: input field \"f\" on measurement \"m2\" \
                        is type integer, already exists as type float dropped=3";

#[test]
fn a_conflict_names_field_measurement_and_type() {
    let v1 = r#"{"error":"partial write: field type conflict: input field \"f\" on measurement \"m2\" is type integer, already exists as type float dropped=3"}"#;
    let v2 = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"f\" on measurement \"m2\" is type integer, already exists as type float dropped=3"}"#;
    let conflict = Conflict {
        measurement: "m2".to_owned(),
        field: "f".to_owned(),
        found: "integer".to_owned(),
        exists: "float".to_owned(),
    };
    let expected = |text: &str| Complaint::Conflict {
        conflict: conflict.clone(),
        dropped: Some(3),
        text: text.to_owned(),
    };
    assert_eq!(complaint_of(400, v1), expected(CONFLICT));
    let prefixed = format!("failure writing points to database: {CONFLICT}");
    assert_eq!(complaint_of(422, v2), expected(&prefixed));
}

#[test]
fn lines_that_cannot_be_parsed_stand_in_the_text() {
    for (status, body) in [
        (
            400,
            r#"{"error":"partial write: unable to parse 'm,t=a f=': missing field value dropped=0"}"#,
        ),
        (400, r#"{"error":"unable to parse 'm,t=a f=': missing field value"}"#),
        (400, r#"{"code":"invalid","message":"unable to parse 'm,t=a f=': missing field value"}"#),
        (
            400,
            r#"{"code":"invalid","message":"unable to parse 'm,t=a g=1 9223372036854775807': time outside range -9223372036854775806 - 9223372036854775806"}"#,
        ),
    ] {
        let found = complaint_of(status, body);
        assert!(matches!(found, Complaint::Unparsable { .. }), "{body}: {found:?}");
    }
}

#[test]
fn what_is_beyond_retention_is_counted() {
    let v1 = r#"{"error":"partial write: points beyond retention policy dropped=2"}"#;
    let v2 = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2 points outside retention policy of duration 1h0m0s - oldest point m,t=b at 2026-11-22T15:29:04.628786445Z dropped because it violates a Retention Policy Lower Bound at 2026-11-22T16:30:44.797689228Z, newest point m,t=a at 2026-11-22T15:30:44.628786445Z dropped because it violates a Retention Policy Lower Bound at 2026-11-22T16:30:44.797689228Z dropped=2 for database: 473807c55167d530 for retention policy: autogen"}"#;
    for (status, body) in [(400, v1), (422, v2)] {
        let found = complaint_of(status, body);
        assert!(matches!(found, Complaint::TooOld { dropped: Some(2), .. }), "{found:?}");
    }
}

#[test]
fn what_the_cloud_does_not_keep_is_not_counted() {
    let text =
        r#"{"code":"forbidden","message":"data is outside of the bucket's retention period"}"#;
    for status in [400, 403, 422] {
        let found = complaint_of(status, text);
        assert!(matches!(found, Complaint::TooOld { dropped: None, .. }), "{status}: {found:?}");
    }
    let window = r#"{"error":"partial write: dropped 2 points outside retention policy of duration 1h0m0s because it violates a Write Window Lower Bound dropped=2"}"#;
    assert!(matches!(complaint_of(400, window), Complaint::Partial { .. }));
    assert!(matches!(judged(403, r#"{"message":"forbidden"}"#), Verdict::Misconfigured(_)));
}

#[test]
fn influxdb_3_names_lines_by_their_number() {
    let body = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"home,room=Sunroom temp=hi 1735549200","line_number":2,"error_message":"invalid column type for column 'temp', expected iox::column_type::field::float, got iox::column_type::field::uinteger"},{"original_line":"cpu,host=a val= 123","line_number":3,"error_message":"No fields were provided"}]}"#;
    let Complaint::Named { told, .. } = complaint_of(400, body) else { panic!() };
    assert_eq!(told.iter().map(|told| told.number).collect::<Vec<_>>(), [2, 3]);
    let conflict = told[0].conflict.as_ref().unwrap();
    assert_eq!((conflict.field.as_str(), conflict.exists.as_str()), ("temp", "float"));
    assert_eq!(conflict.found, "unsigned");
    assert_eq!((told[1].text.as_str(), &told[1].conflict), ("No fields were provided", &None));
    // Without partial writes there is one line, and not in a list.
    let one = r#"{"error":"parsing failed for write_lp endpoint","data":{"original_line":"m v= 1","line_number":1,"error_message":"No fields were provided"}}"#;
    assert!(matches!(complaint_of(400, one), Complaint::Named { told, .. } if told.len() == 1));
}

#[test]
fn a_success_with_something_to_say_is_none() {
    assert!(matches!(complaint_of(204, "x"), Complaint::Partial { dropped: None, .. }));
    let named = r#"{"code":"invalid","message":"partial write has occurred: line 2: bad"}"#;
    assert!(matches!(complaint_of(201, named), Complaint::Partial { .. }));
}

#[test]
fn other_partial_writes_tell_how_many() {
    for body in [
        r#"{"error":"partial write: invalid field name: input field \"time\" on measurement \"m\" is invalid dropped=1"}"#,
        r#"{"error":"partial write: max-values-per-tag limit exceeded (100000/100000): measurement=\"m\" tag=\"t\" value=\"v\" dropped=1"}"#,
        // What devices call things says nothing about their age.
        r#"{"error":"partial write: max-values-per-tag limit exceeded (100000/100000): measurement=\"m\" tag=\"site\" value=\"outside-retention-pond\" dropped=1"}"#,
    ] {
        let found = complaint_of(400, body);
        assert!(matches!(found, Complaint::Partial { dropped: Some(1), .. }), "{found:?}");
    }
    assert!(matches!(complaint_of(201, ""), Complaint::Partial { dropped: None, .. }));
    let early_v2 = r#"{"code":"internal error","message":"unexpected error writing points to database: partial write: something dropped=4"}"#;
    assert!(matches!(complaint_of(500, early_v2), Complaint::Partial { dropped: Some(4), .. }));
}

/// The probe point decides then.
#[test]
fn a_400_that_names_nothing_is_vague() {
    for body in [
        r#"{"error":"database is required"}"#,
        r#"{"error":"gzip: invalid header"}"#,
        r#"{"code":"invalid","message":"invalid precision; valid precision units are ns, us, ms, and s"}"#,
        "<html><body>Bad Request</body></html>",
        "",
    ] {
        assert!(matches!(complaint_of(400, body), Complaint::Vague { .. }), "{body}");
    }
}

#[test]
fn our_own_configuration_is_told_apart_from_lines() {
    for (status, body) in [
        (404, r#"{"error":"database not found: \"nope\""}"#),
        (404, r#"{"code":"not found","message":"bucket \"nope\" not found"}"#),
        (404, r#"{"code":"not found","message":"organization name \"nope\" not found"}"#),
        (404, "404 page not found"),
        (401, r#"{"code":"unauthorized","message":"unauthorized access"}"#),
        (500, r#"{"error":"retention policy not found: nope"}"#),
        (403, ""),
        (405, ""),
        (406, ""),
        (415, ""),
        (451, ""),
        (200, "<html>Welcome to the hotel</html>"),
        (202, ""),
        (301, ""),
        (302, ""),
        (307, ""),
        (418, ""),
        (100, ""),
        (999, ""),
    ] {
        let found = judged(status, body);
        assert!(matches!(found, Verdict::Misconfigured(_)), "{status} {body}: {found:?}");
    }
}

#[test]
fn their_own_trouble_is_not_ours() {
    assert_eq!(judged(204, ""), Verdict::Stored);
    assert!(matches!(judged(413, "<html>nginx</html>"), Verdict::TooLarge(_)));
    for status in [408, 425, 500, 502, 504, 507, 599] {
        assert!(matches!(judged(status, ""), Verdict::Failed(_)), "{status}");
    }
    let lie = r#"{"code":"internal error","message":"An internal error has occurred - check server logs"}"#;
    let text = "HTTP 500: An internal error has occurred - check server logs";
    assert_eq!(judged(500, lie), Verdict::Failed(text.to_owned()));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    for (value, expected_s) in [
        (Some("7"), Some(7)),
        (Some(" 0 "), Some(0)),
        (Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30)),
        (Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
        (Some("soon"), None),
        (Some("-1"), None),
        (None, None),
    ] {
        for status in [429, 503] {
            let Verdict::Busy { retry_after, .. } = judge(status, value, b"", now) else {
                panic!("{status} is busy")
            };
            assert_eq!(retry_after, expected_s.map(Duration::from_secs), "{value:?}");
        }
    }
}

#[test]
fn no_answer_whatever_panics() {
    for status in 0..=1000 {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{\"message\":7}",
            "\u{0}",
            "dropped=",
            "dropped=99999999999999999999",
        ] {
            let _ = judge(status, Some(body), body.as_bytes(), SystemTime::UNIX_EPOCH);
        }
    }
    assert_eq!(judged(404, "\"\"").clone(), judged(404, "\"\""));
}
