"""What both estimators share: parameters, fitting, inspection, calibration, saving."""
