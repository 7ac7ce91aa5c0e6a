//! The commands that a user would type.

use std::process::{Command, Output};

use crate::support::{
    inside::{Inside, Settings},
    missing, program,
};

#[tokio::test]
async fn curl_puts_readings_in() {
    let Some(curl) = program("curl") else {
        return missing("curl", "apt-get install curl");
    };
    let mut inside = Inside::start(Settings::default()).await;
    let base = format!("http://127.0.0.1:{}", inside.port);
    let run = async |arguments: &[&str]| -> Output {
        let mut command = Command::new(&curl);
        command.args(["-sS", "-m", "20"]);
        command.args(arguments.iter().map(|argument| argument.replace("BASE", &base)));
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    };
    let output = run(&["--fail", "-d", "climate,device=d1 t=21.5 1", "BASE/write?db=iot"]).await;
    assert!(output.status.success(), "{output:?}");
    let json = "content-type: application/json";
    let output =
        run(&["--fail", "-H", json, "-d", "{\"t\":1,\"ts\":1}", "BASE/v1/readings?device=d2"])
            .await;
    assert!(output.status.success(), "{output:?}");
    // Without the header curl calls it a form: the answer says what to do.
    let output = run(&["-d", "{\"t\":1}", "BASE/v1/readings?device=d2"]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("application/json"), "{output:?}");
    // Larger than curl sends without asking first (Expect: 100-continue).
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "m,device=d3 f=1.5 1\n".repeat(100_000)).unwrap();
    let data = format!("@{}", file.path().display());
    let output = run(&["--fail", "--data-binary", &data, "BASE/api/v2/write"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(inside.lines().await.len(), 100_002);
    inside.stop().await;
}
