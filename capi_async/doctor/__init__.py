"""What keeps a configuration from working, found out before the first real order does: ``await client.check()``.

Each module looks at one thing: ``environment`` at Python and packages, ``credentials`` at their form, ``reach`` at the
way to each platform, ``accounts`` at what the platform says to the credential, ``spools`` at where events wait.
"""

from capi_async.doctor.examine import examine
from capi_async.doctor.findings import Finding, Level, Report

__all__ = ["Finding", "Level", "Report", "examine"]
