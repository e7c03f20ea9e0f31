//! The message when everything is running: URLs, the admin's credentials, and three example requests.

use std::io::Write as _;

use super::admin::Admin;
use super::options::CommandOptions;
use crate::cloud::LocalCloud;
use crate::service::Service;

/// Prints the message. Its example requests can be pasted into a shell.
pub fn print(options: &CommandOptions, cloud: &LocalCloud, admin: &Result<Admin, String>) {
    let mut text = format!(
        "\n  Undercroft is up.\n\n  API        http://localhost:{}\n  Dashboard  http://localhost:{}   (mail, queues, files, tables)\n",
        options.port, options.dashboard_port
    );
    for (service, address) in cloud.external_services() {
        text.push_str(&format!("  {:<10} served by {address}\n", name(service)));
    }
    match admin {
        Ok(admin) => text.push_str(&first_steps(options.port, admin)),
        Err(why) => text.push_str(&format!("\n  The admin account could not be created: {why}\n")),
    }
    text.push_str("\n  Ctrl-C stops it; all data is stored. `cargo dev -- --help` lists the options.\n\n");
    // Continue if standard output is closed.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn first_steps(port: u16, admin: &Admin) -> String {
    let Admin { email, password } = admin;
    format!(
        r#"  Admin      {email}
             {password}

  Sign in, create a collection, list the collections:

TOKEN=$(curl -s localhost:{port}/v1/auth/signin -H 'content-type: application/json' -d '{{"email":"{email}","password":"{password}"}}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
curl -X PUT localhost:{port}/v1/collections/notes -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{{"name":"notes","schema":{{"type":"object","properties":{{"text":{{"type":"string"}}}}}}}}'
curl localhost:{port}/v1/collections -H "authorization: Bearer $TOKEN"
"#
    )
}

fn name(service: Service) -> &'static str {
    match service {
        Service::Tables => "Tables",
        Service::Queues => "Queues",
        Service::Parameters => "Keys",
    }
}
