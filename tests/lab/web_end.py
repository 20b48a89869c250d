"""A browser with one end of a call: `web_end.py DIRECTORY URL PIN JID PASSWORD PEER`.

PIN is the hash of the public key that the web server has. Prints what the page has found; then
takes lines of JSON, each a function of `web/call.js` and its arguments, and prints what it returns.
"""

import json
import sys
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.lab.turn_browser import FLAGS

TIMEOUT = 40.0  # seconds; two browsers share few cores


def call(driver: Chrome, function: str, *arguments: Any) -> Any:
    """What an asynchronous function of the page returns."""
    script = f"""
        const [given, done] = arguments;
        const tell = (promise) => promise.then((value) => ({{value}}), (error) => `${{error}}`);
        tell({function}(...given)).then(done);
    """
    result = driver.execute_async_script(script, arguments)
    if isinstance(result, str):
        raise SystemExit(f"{function}: {result}")
    return result.get("value")


def main(directory: str, url: str, pin: str, *account: str) -> None:
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    trusting = f"--ignore-certificate-errors-spki-list={pin}"
    audible = "--autoplay-policy=no-user-gesture-required"
    for flag in (*FLAGS, f"--user-data-dir={directory}", trusting, audible):
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    try:
        driver.set_script_timeout(TIMEOUT)
        driver.get(url)
        print(json.dumps(call(driver, "prepare", *account)), flush=True)
        for line in sys.stdin:
            print(json.dumps(call(driver, *json.loads(line))), flush=True)
    finally:
        driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
