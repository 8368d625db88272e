"""The programs: data sets, training, sampling, evaluation and the command line. One of penult's four packages."""
