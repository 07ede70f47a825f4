"""What strangers write where a name, a title, a message or a cell is expected.

Every text that is shown to somebody is tried with all of these.
"""

from __future__ import annotations

#: Would begin a header of its own, or end all of them, if it came through.
HEADERS = [
    "a\r\nBcc: evil@example.org",
    "a\nBcc: evil@example.org",
    "a\rBcc: evil@example.org",
    "a\r\n\r\n<script>alert(1)</script>",
    "a\r\n Bcc: evil@example.org",
    "a\n\tBcc: evil@example.org",
    "a\r\n.\r\nMAIL FROM:<evil@example.org>",
    "a\x0bBcc: evil@example.org",
    "a\x0cBcc: evil@example.org",
    "a\x1cBcc: evil@example.org",
    "a\x85Bcc: evil@example.org",
    "a\u2028Bcc: evil@example.org",
    "a\u2029Bcc: evil@example.org",
    "a\0Bcc: evil@example.org",
    "a\x1b[2Jb",
    "=?utf-8?q?a=0D=0ABcc:_evil@example.org?=",
    "=?utf-8?b?YQ0KQmNjOiBldmlsQGV4YW1wbGUub3Jn?=",
    "=?utf-8?q?a?= =?utf-8?q?=0A?= b",
    "=?x?q?\r\nBcc: evil@example.org?=",
    "=?utf-8?q?" + "a" * 5_000 + "?=",
    '"; filename="evil.exe',
    "a'; filename*=UTF-8''evil.exe; x='",
    "%0d%0aBcc: evil@example.org",
    "a" * 5_000,
    "ä" * 5_000,
    "a " * 2_000,
    "\U0001f9ff" * 900,
    "\ud800",
    "\ud83d x",
]
#: Turns round what stands beside it, or hides.
BIDI = [
    "invoice\u202efdp.exe",
    "\u202dabc\u202c",
    "a\u2066b\u2069",
    "\u2067evil\u2069",
    "\ufeffa",
]
#: Would be markup, a script, a style or an address of its own.
MARKUP = [
    "<script>alert(1)</script>",
    "</title></style></script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    "<img src=https://evil.example/x.png>",
    "<a href=javascript:alert(1)>x</a>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<!--", "-->", "<![CDATA[", "]]>", "<?xml", "<!DOCTYPE html>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content=0;url=https://evil.example/>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>*{display:none}</style>",
    "}</style><style>@import 'https://evil.example/x.css';{",
    "; background: url(https://evil.example/x)",
    "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "${7*7}", "#{7*7}",
    "&lt;script&gt;", "&#60;script&#62;", "&quot;onload=alert(1)",
    "<ScRiPt\x00>alert(1)</sCrIpT>",
    "\x3cscript\x3e",
    "＜script＞alert(1)＜/script＞",
]  # fmt: skip
#: Addresses that are no web address, whatever they look like.
LINKS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "//evil.example/",
    "mailto:x@example.org",
    "https:",
    "http://",
    "x",
    "https://[x/",
]
#: What file systems, archives and shells take amiss.
FILES = [
    "../../etc/passwd",
    "..\\..\\windows\\system32",
    "/etc/passwd",
    "C:\\autoexec.bat",
    "\\\\server\\share",
    "....//....//x",
    "..",
    ".",
    "...",
    "",
    " ",
    "~root",
    "-rf",
    "$(reboot)",
    "`reboot`",
    "a;reboot",
    "a|b>c<d",
    "a:b:$DATA",
    "a*b?c",
    "%2e%2e%2f",
    "..%c0%af",
    "a\0.exe",
    "CON",
    "con.txt",
    "NUL.tar.gz",
    "aux.",
    "COM1.x",
    "lpt¹.x",
    "Prn .x",
    "desktop.ini",
    ".htaccess",
    "a" * 5_000,
    "ä" * 5_000,
    "\U0001f9ff" * 900,
    "क्षि" * 500,
    "e\u0301" * 500,
    "a.pdf.exe",
]
TEXTS = [*HEADERS, *BIDI, *MARKUP, *LINKS, *FILES]
#: Without what no JSON and no database holds.
STORABLE = [
    text for text in TEXTS if "\0" not in text and not any(0xD800 <= ord(x) < 0xE000 for x in text)
]
