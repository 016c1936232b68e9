/* version: of the program: `mdm --version`, and what a run's run.json remembers. */
#ifndef MDM_BASE_VERSION_H
#define MDM_BASE_VERSION_H

#define MDM_VERSION "0.1"

#endif
